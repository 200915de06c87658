"""The losses of torch that are heard, and the functions that stand where they stood after it."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement.batch import CriterionCall, criteria_heard
from gradflow.measurement.batch.criteria import CRITERIA


def scores() -> torch.Tensor:
    return torch.randn(4, 3, requires_grad=True)


def test_functions_and_modules_are_heard_with_their_arguments() -> None:
    x, labels, calls = scores(), torch.tensor([0, 1, 2, 0]), list[CriterionCall]()
    with criteria_heard(calls):
        F.cross_entropy(x, labels, reduction="sum")
        nn.MSELoss()(x, torch.zeros(4, 3))
        F.nll_loss(input=x, target=labels)
    assert [call.name for call in calls] == ["cross_entropy", "mse_loss", "nll_loss"]
    assert [call.reduction for call in calls] == ["sum", "mean", "mean"]
    assert calls[0].input is x
    assert calls[0].target is labels


def test_nobody_hears_without_gradients_or_after_the_block() -> None:
    x, calls = scores(), list[CriterionCall]()
    with criteria_heard(calls):
        with torch.no_grad():
            F.mse_loss(x, x)
        F.mse_loss(x.detach(), torch.zeros(4, 3))
    F.mse_loss(x, torch.zeros(4, 3))
    assert calls == []


def interrupted(outer: list[CriterionCall], inner: list[CriterionCall]) -> None:
    with criteria_heard(outer):
        with criteria_heard(inner):
            F.mse_loss(scores(), torch.zeros(4, 3))
        F.l1_loss(scores(), torch.zeros(4, 3))
        raise KeyboardInterrupt


def test_blocks_within_each_other_hear_alike_and_leave_the_functions_as_they_were() -> None:
    before = {name: getattr(F, name) for name in CRITERIA}
    outer, inner = list[CriterionCall](), list[CriterionCall]()
    with pytest.raises(KeyboardInterrupt):
        interrupted(outer, inner)
    assert [len(outer), len(inner)] == [2, 1]
    assert {name: getattr(F, name) for name in CRITERIA} == before


def test_what_somebody_else_puts_there_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "mse_loss", F.mse_loss)  # put back after the test
    with criteria_heard([]):
        F.mse_loss = mine = lambda *_: torch.tensor(0.0)
    assert F.mse_loss is mine


def test_a_module_that_listens_can_be_stored() -> None:
    with criteria_heard([]):
        assert isinstance(pickle.loads(pickle.dumps(nn.CrossEntropyLoss())), nn.CrossEntropyLoss)


def test_what_somebody_put_there_between_two_blocks_is_called_and_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = list[CriterionCall]()
    with criteria_heard(calls):
        F.mse_loss(scores(), torch.zeros(4, 3))

    def own(input: torch.Tensor, target: torch.Tensor) -> str:
        return "own"

    monkeypatch.setattr(F, "mse_loss", own)
    with criteria_heard(calls):
        assert F.mse_loss(scores(), torch.zeros(4, 3)) == "own"
    assert F.mse_loss is own
    assert len(calls) == 2
