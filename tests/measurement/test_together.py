"""Samples measured together give what each gives alone; what is known is not tried again."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.measurement.modules import (
    is_activation,
    is_torchs_own,
    known_by,
    own_parameters,
    signature,
    trial_copy,
)
from gradflow.measurement.quantities import Sample
from gradflow.measurement.records import LayerRecord
from gradflow.measurement.together import Together


def record(index: int = 1) -> LayerRecord:
    return LayerRecord(index, f"layer {index}", "Linear", nn.Linear(2, 2))


@pytest.mark.parametrize("source", ["output", "activation", "delta", "weight", "gradient"])
def test_samples_of_one_shape_give_together_what_each_gives_alone(source: str) -> None:
    torch.manual_seed(0)
    samples = [torch.randn(1, 5, 3, 8) * 10.0**k for k in range(4)]
    samples[2][0, 1] = 0
    together, alone = Together(), [record(i) for i in range(4)]
    waiting = [record(i) for i in range(4)]
    for values, one, other in zip(samples, alone, waiting, strict=True):
        one.add(source, Sample(values, one.module))
        together.add(other, source, values, lambda v, o=other: Sample(v, o.module))
    together.flush()
    for one, other in zip(alone, waiting, strict=True):
        assert one.values.keys() == other.values.keys()
        for name, value in one.values.items():
            torch.testing.assert_close(value, other.values[name], rtol=1e-13, atol=0)


def test_calls_of_one_layer_add_up_whether_they_wait_or_not() -> None:
    torch.manual_seed(0)
    calls = [torch.randn(1, 6, 4) for _ in range(3)]
    one, other, together = record(), record(), Together()
    for values in calls:
        one.add("activation", Sample(values))
        together.add(other, "activation", values)
    together.flush()
    whole = torch.cat(calls).double()
    assert float(other.values["activation_variance"]) == pytest.approx(
        float(whole.var(correction=0)), rel=1e-12
    )
    for name, value in one.values.items():
        torch.testing.assert_close(value, other.values[name], rtol=1e-12, atol=1e-15)


def test_what_works_in_place_later_does_not_change_a_sample_that_waits() -> None:
    seen, together, values = record(), Together(), torch.ones(1, 4, 4)
    together.add(seen, "activation", values)
    values.zero_()
    together.flush()
    assert float(seen.values["activation_mean"]) == 1


def test_many_small_samples_are_not_all_kept() -> None:
    together, records = Together(), [record(i) for i in range(40)]
    for one in records:
        together.add(one, "activation", torch.ones(1, 4, 2**13))
    assert sum("activation_mean" in one.values for one in records) >= 16


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.scale * x)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return torch.tanh(x)


def test_modules_of_one_class_and_the_same_numbers_are_known_to_do_the_same() -> None:
    assert signature(Scaled(2.0)) == signature(Scaled(2.0))
    assert signature(Scaled(2.0)) != signature(Scaled(3.0))
    assert signature(nn.PReLU()) is None
    assert signature(nn.LeakyReLU(0.1)) != signature(nn.LeakyReLU(0.2))


def test_slopes_of_two_activations_of_one_class_are_not_mixed_up() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 6), Scaled(0.1), nn.Linear(6, 6), Scaled(100.0), nn.Linear(6, 6), Scaled(0.1)
    )
    rows = gradflow.diagnose(model, torch.randn(8, 6), torch.randint(6, (8,))).rows()
    saturated = [row["saturated_fraction"] for row in rows]
    assert saturated[0] == saturated[2] == 0
    assert saturated[1] > 0.5


def test_a_trial_copy_writes_nothing_into_the_module() -> None:
    module = Counting()
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    trial_copy(module).forward(torch.ones(3))
    assert is_activation(module)
    assert module.seen == []
    assert calls == []
    assert len(module._forward_hooks) == 1


class Calling(nn.Module):
    """Calls a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_an_activation_that_is_flat_somewhere_is_one_all_the_same() -> None:
    assert is_activation(Calling(F.relu))
    assert is_activation(Calling(lambda x: -F.relu(-x)))
    assert not is_activation(Calling(lambda x: F.relu(x).cumsum(0)))
    assert not is_activation(Calling(lambda x: x.square() - x.max()))
    assert not is_activation(Calling(lambda x: 2 * x))


def test_what_draws_random_numbers_is_told_apart() -> None:
    def function(f: object, *others: object) -> object:
        return functools.partial(lambda *_: None, f, others, {})

    assert is_torchs_own(known_by(nn.GELU().forward))
    assert is_torchs_own(known_by(function(F.leaky_relu, 0.2)))
    assert not is_torchs_own(known_by(nn.RReLU().forward))
    assert not is_torchs_own(known_by(function(F.rrelu)))
    assert not is_torchs_own(known_by(Scaled(1.0).forward))
    assert known_by(function(F.leaky_relu, torch.ones(2))) is None


def test_a_parameter_of_two_names_is_held_once() -> None:
    module = nn.Linear(2, 2)
    module.other = module.weight
    assert list(own_parameters(module)) == ["weight", "bias"]
