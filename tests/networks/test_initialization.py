"""Every initialiser draws the variance that it names, and what a seed draws is fixed."""

from __future__ import annotations

import math

import pytest
import torch

from gradflow.errors import GradflowError
from gradflow.networks.initialization import INITIALIZERS, configured, initialize, initializer

FAN_IN, FAN_OUT = 300, 200


def drawn(name: str, seed: int = 0, **put_over: float) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = torch.empty(1, FAN_OUT, FAN_IN), torch.empty(1, FAN_OUT)
    generators = [torch.Generator().manual_seed(seed)]
    initialize(weight, bias, configured(name, **put_over), generators)
    return weight[0].double(), bias[0].double()


VARIANCES = {
    "default": 1 / (3 * FAN_IN),  # U(±1/√n) has variance 1/(3n)
    "xavier-normal": 2 / (FAN_IN + FAN_OUT),
    "xavier-uniform": 2 / (FAN_IN + FAN_OUT),
    "he-normal": 2 / FAN_IN,
    "he-uniform": 2 / FAN_IN,
    "lecun-normal": 1 / FAN_IN,
    "lecun-uniform": 1 / FAN_IN,
    "orthogonal": 1 / FAN_IN,
}


def test_every_initializer_is_checked_here() -> None:
    assert set(VARIANCES) == set(INITIALIZERS)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_variance_is_the_papers(name: str) -> None:
    weight, _ = drawn(name)
    # 60,000 entries: the standard error of a Gaussian's variance is √(2/60000) = 0.6 %; 4 of them.
    assert float(weight.var()) == pytest.approx(VARIANCES[name], rel=0.024)
    assert abs(float(weight.mean())) < 4 * math.sqrt(VARIANCES[name] / weight.numel())


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if n.endswith("uniform")] + ["default"])
def test_uniform_ones_stay_within_their_bound_and_reach_it(name: str) -> None:
    weight, _ = drawn(name)
    bound = math.sqrt(3 * VARIANCES[name])
    assert 0.999 * bound < float(weight.abs().max()) <= bound * (1 + 1e-6)


def test_default_is_what_torch_does() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Linear(FAN_IN, FAN_OUT)
    weight, bias = drawn("default")
    bound = 1 / math.sqrt(FAN_IN)
    for ours, other in ((weight, theirs.weight.detach()), (bias, theirs.bias.detach())):
        assert float(ours.abs().max()) <= bound * (1 + 1e-6)
        assert float(other.abs().max()) <= bound * (1 + 1e-6)
        # Variances of two independent uniform samples, n ≥ 200: relative error √(0.8/n), 4 of them.
        assert float(ours.var()) == pytest.approx(
            float(other.var()), rel=8 * math.sqrt(0.8 / ours.numel())
        )


def test_orthogonal_rows_are_orthonormal_times_the_gain() -> None:
    weight, _ = drawn("orthogonal", gain=3.0)
    identity = torch.eye(FAN_OUT, dtype=torch.float64)
    assert torch.allclose(weight @ weight.T / 9, identity, atol=1e-5)  # float32 QR


def test_explicit_variances_take_over_whatever_the_name() -> None:
    weight, bias = drawn("xavier-uniform", weight_variance=1.7, bias_variance=0.3, bias_mean=-10.0)
    assert float(weight.var()) == pytest.approx(1.7 / FAN_IN, rel=0.024)
    assert float(bias.mean()) == pytest.approx(-10, abs=4 * math.sqrt(0.3 / FAN_OUT))
    assert float(bias.var()) == pytest.approx(0.3, rel=4 * math.sqrt(2 / FAN_OUT))


def test_gain_multiplies_the_standard_deviation() -> None:
    plain, _ = drawn("he-normal")
    louder, _ = drawn("he-normal", gain=5.0)
    assert torch.allclose(louder, 5 * plain, rtol=1e-6)


def test_a_replica_is_the_same_network_alone_and_in_company() -> None:
    together = torch.empty(3, 4, 5)
    generators = [torch.Generator().manual_seed(s) for s in (7, 8, 9)]
    initialize(together, None, initializer("he-normal"), generators)
    alone = torch.empty(1, 4, 5)
    initialize(alone, None, initializer("he-normal"), [torch.Generator().manual_seed(8)])
    assert torch.equal(together[1], alone[0])


def test_kaiming_and_glorot_are_other_names() -> None:
    assert initializer("Kaiming_Normal") is INITIALIZERS["he-normal"]
    assert initializer("glorot-uniform") is INITIALIZERS["xavier-uniform"]


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(GradflowError) as caught:
        initializer("he-normel")
    assert "he-normal" in str(caught.value.hint)
