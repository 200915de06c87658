"""Gradients that grow over the steps of a run, told once and by the best name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.results.watching import WatchResult, WatchStepRow
from gradflow.watching.curve_checks import diverged, growing
from gradflow.watching.growth import growth


class First(nn.Module):
    """Says the first number of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.RNN(2, 16, batch_first=True), nn.Linear(16, 1)
        nn.init.orthogonal_(self.inner.weight_hh_l0)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.out(self.inner(x)[0][:, -1])
        return said


def run(factor: float) -> WatchResult:
    """A recurrence whose weights something multiplies after each step."""
    torch.manual_seed(0)
    model = First()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    with gradflow.watch(model) as watch:
        for _ in range(70):
            x = torch.randn(8, 40, 2)
            optimizer.zero_grad()
            F.mse_loss(model(x), x[:, 0, :1]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.inner.weight_hh_l0.mul_(factor)
    return watch.result()


def test_a_gradient_that_grows_is_told_with_the_layer_that_came_first() -> None:
    result = run(1.02)
    (found,) = [f for f in result.findings if f.code == "exploding"]
    grown = growth(result)
    assert grown is not None
    assert found.severity == "warning"
    assert f"grew by {grown.decades:.1f} decades" in found.message
    assert found.layers == (1,)
    assert "first in layer 1 (inner)" in found.message
    assert 1 < (grown.step or 0) < 70


def test_one_that_stays_as_it_was_is_not() -> None:
    assert not any(f.code == "exploding" for f in run(1.0).findings)


def made(norms: list[float], losses: list[float]) -> WatchResult:
    pairs = zip(norms, losses, strict=True)
    steps = [WatchStepRow(i + 1, n, n, False, loss, 0.1) for i, (n, loss) in enumerate(pairs)]
    return WatchResult(steps=tuple(steps), seen=len(steps))


GROWING = [10 ** (i / 10) for i in range(60)]


def test_a_loss_that_diverges_has_one_finding_which_says_both() -> None:
    result = made(GROWING, GROWING)
    assert list(growing(result)) == []
    (found,) = diverged(result)
    assert "‖g‖ grew by" in found.message


def test_of_a_run_that_learnt_and_of_a_short_one_nothing_is_said() -> None:
    assert list(growing(made(GROWING, [2.0 - i / 31 for i in range(60)]))) == []
    assert [f.code for f in growing(made(GROWING, [1.0] * 60))] == ["exploding"]
    assert list(growing(made(GROWING[::4], [1.0] * 15))) == []


@pytest.mark.parametrize("norm", [None, 0.0])
def test_a_norm_that_is_not_known_is_no_growth(norm: float | None) -> None:
    result = made(GROWING, [1.0] * 60)
    steps = (replace(result.steps[0], norm_before=norm), *result.steps[1:])
    assert growth(replace(result, steps=steps)) is None
