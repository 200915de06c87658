"""A diagnosis of a loop's own pass says what `diagnose` says, and runs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.diagnosis.first_pass import FirstPass
from gradflow.results.diagnosis import DiagnosisResult


class Functional(nn.Module):
    """Activations that are functions, an embedding, and a call counter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 3)
        self.calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        x = F.relu(self.first(self.embed(tokens).mean(1)))
        return self.out(self.norm(torch.tanh(self.second(x))))


class Recurrent(nn.Module):
    """An LSTM and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "plain": (plain, lambda: torch.randn(16, 6)),
    "functional": (Functional, lambda: torch.randint(11, (16, 4))),
    "recurrent": (Recurrent, lambda: torch.randn(16, 7, 5)),
}


def seen(model: nn.Module, x: Tensor, y: Tensor, scale: float = 1.0) -> DiagnosisResult:
    """Record a step of a loop."""
    first = FirstPass(model)
    first.attach()
    loss = F.cross_entropy(model(x), y) * scale
    first.before_backward()
    loss.backward()
    first.after_backward(loss, scale)
    assert first.over
    result = first.result(0.01, summed=False)
    assert result is not None
    return result


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
@pytest.mark.parametrize("case", CASES)
def test_it_measures_what_diagnose_measures(case: str, scale: float) -> None:
    torch.manual_seed(3)
    model, inputs = CASES[case]
    net, x, y = model(), inputs(), torch.randint(3, (16,))
    told = gradflow.diagnose(net, x, y, lr=0.01)
    found = seen(net, x, y, scale)
    assert [row.name for row in found.records] == [row.name for row in told.records]
    assert found.loss == pytest.approx(told.loss)
    for own, known in zip(found.rows(), told.rows(), strict=True):
        for name, value in known.items():
            if isinstance(value, float) and not math.isnan(value):
                assert own[name] == pytest.approx(value, rel=1e-4, abs=1e-5), (own["name"], name)
    assert found.verdict == told.verdict
    assert (found.step_rate is None) == (case != "recurrent")
    if told.step_rate is not None:
        assert found.step_rate == pytest.approx(told.step_rate, rel=1e-4)
    steps = [[row.input_delta_log10_rms for row in r.time_steps] for r in (found, told)]
    assert steps[0] == pytest.approx(steps[1], abs=1e-5)


def test_nothing_is_run_again_and_nothing_stays() -> None:
    model = Functional()
    torch.manual_seed(0)
    x, y = torch.randint(11, (16, 4)), torch.randint(3, (16,))
    seen(model, x, y)
    assert model.calls == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch._C._len_torch_function_stack() == 0


def test_gradients_of_a_pass_before_are_not_taken() -> None:
    model = plain()
    model(torch.randn(4, 6)).sum().backward()
    first = FirstPass(model)
    first.attach()
    loss = model(torch.randn(4, 6)).sum()
    first.before_backward()
    loss.backward()
    first.after_backward(loss, 1.0)
    assert first.result(0.01, summed=False) is None


def test_the_pass_of_another_model_is_waited_out() -> None:
    torch.manual_seed(1)
    model, other = plain(), nn.Linear(6, 1)
    first = FirstPass(model)
    first.attach()
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    output = model(x)
    between = other(x).sum()
    first.before_backward()
    between.backward()
    first.after_backward(between, 1.0)
    assert not first.over
    loss = F.cross_entropy(output, y)
    first.before_backward()
    loss.backward()
    first.after_backward(loss, 1.0)
    assert first.result(0.01, summed=False) is not None


def test_what_goes_wrong_in_looking_never_reaches_the_program() -> None:
    class Once(nn.Module):
        """An activation that refuses to be copied, and to be called again."""

        def __deepcopy__(self, _: object) -> nn.Module:
            raise RuntimeError("no copies")

        def forward(self, x: Tensor) -> Tensor:
            return x.clamp_min(0)

    model = nn.Sequential(nn.Linear(6, 8), Once(), nn.Linear(8, 3))
    first = FirstPass(model)
    first.attach()
    first._recorder.activation_called(first._recorder.records, None, None)  # type: ignore[arg-type]
    loss = model(torch.randn(4, 6)).sum()
    first.before_backward()
    loss.backward()
    first.after_backward(loss, 1.0)
    assert first.over
    assert first.result(0.01, summed=False) is None
