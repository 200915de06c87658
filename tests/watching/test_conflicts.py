"""Examples that come again, with the same targets and with others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradflow.measurement.batch import CriterionCall
from gradflow.results.watching import ConflictFacts
from gradflow.watching.calls import Calls
from gradflow.watching.conflicts import Conflicts


def seen(inputs: Tensor, targets: Tensor, *, epochs: int = 6, order: str = "same") -> Conflicts:
    torch.manual_seed(0)
    conflicts = Conflicts()
    for _ in range(epochs):
        rows = torch.randperm(len(inputs))
        x, y = inputs[rows], targets if order == "other" else targets[rows]
        for place in range(0, len(x), 16):
            calls = Calls()
            calls.switch(True)
            calls.called(torch.nn.Identity(), (x[place : place + 16],), {}, x)
            given = x[place : place + 16].clone().requires_grad_()
            call = CriterionCall("cross_entropy", given, y[place : place + 16], "mean", {})
            calls.criteria.append(call)
            conflicts.take(calls)
    return conflicts


def found(*given: Tensor, order: str = "same") -> ConflictFacts | None:
    return seen(*given, order=order).found()


def numbers() -> Tensor:
    return torch.randn(160, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("targets", [torch.arange(160) % 3, numbers()[:, :1], numbers()])
def test_targets_of_another_order_are_told_from_those_of_the_same(targets: Tensor) -> None:
    same, other = found(numbers(), targets), found(numbers(), targets, order="other")
    assert same is not None
    assert other is not None
    assert same.examples == other.examples == 160
    assert same.share < 1e-6
    assert other.share > 0.8 * other.chance


def test_inputs_that_are_alike_by_nature_are_left_out() -> None:
    few = torch.randint(2, (160, 2), generator=torch.Generator().manual_seed(2)).float()
    assert found(few, torch.arange(160) % 3, order="other") is None


def test_inputs_that_never_come_again_are_left_out() -> None:
    assert seen(numbers(), torch.arange(160) % 3, epochs=1).found() is None


def test_targets_that_are_places_are_left_out() -> None:
    conflicts = seen(numbers(), torch.arange(160) % 16, order="other")
    assert conflicts.found() is None


def test_a_loss_of_several_parts_is_soon_given_up() -> None:
    conflicts = Conflicts()
    for _ in range(50):
        conflicts.take(Calls())
    assert not conflicts.wanted
