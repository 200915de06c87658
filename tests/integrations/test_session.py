"""What callbacks share: it breaks no loop, ends with a result, and can end a training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gradflow.errors import GradflowError
from gradflow.integrations.session import Session, missing


def network(depth: int = 2, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [part for _ in range(depth) for part in (nn.Linear(8, 8), activation())]
    return nn.Sequential(*hidden, nn.Linear(8, 2))


def trained(session: Session, model: nn.Module, steps: int) -> int:
    """Train as a framework would; return the steps that were taken."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    labels = (inputs[:, 0] > 0).long()
    session.begin(model)
    taken = 0
    for taken in range(1, steps + 1):  # noqa: B007
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        if session.wrong() is not None:
            break
    session.end()
    return taken


def test_it_ends_with_a_result_and_leaves_no_hook() -> None:
    model, session = network(), Session((), 10, {"sample_every": 1})
    assert trained(session, model, 5) == 5
    assert session.result.seen == 5
    assert session.result.verdict == "healthy"
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(not p._post_accumulate_grad_hooks for p in model.parameters())


def test_a_finding_ends_the_training_at_the_next_look() -> None:
    session = Session("vanishing", 3, {})
    assert trained(session, network(12, nn.Sigmoid), 20) == 3
    assert session.stopped_by == "vanishing"
    assert session.result.verdict == "vanishing"


def test_another_finding_does_not() -> None:
    session = Session(["exploding", "dead"], 3, {})
    assert trained(session, network(12, nn.Sigmoid), 7) == 7
    assert session.stopped_by is None


def test_a_second_training_begins_anew() -> None:
    session = Session("vanishing", 3, {})
    trained(session, network(12, nn.Sigmoid), 20)
    assert trained(session, network(), 4) == 4
    assert (session.stopped_by, session.result.seen) == (None, 4)


def test_a_model_that_cannot_be_watched_is_trained_all_the_same() -> None:
    session = Session("vanishing", 1, {})
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.warns(UserWarning, match="gradflow watches no more: GradflowError: 0"):
        assert trained(session, model.train(), 3) == 3
    with pytest.raises(GradflowError, match="nothing was watched: GradflowError: 0"):
        _ = session.result


def test_what_fails_at_a_look_ends_the_watching_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("gradflow.watching.run.Watch.result", fail)
    model, session = network(), Session("dead", 1, {})
    with pytest.warns(UserWarning, match="watches no more: RuntimeError: no"):
        assert trained(session, model, 3) == 3
    assert all(not m._forward_hooks for m in model.modules())


def test_the_result_so_far_of_a_training_under_way() -> None:
    session, model = Session((), 10, {}), network()
    session.begin(model)
    assert session.result.seen == 0
    session.end()


def test_before_any_training_there_is_nothing() -> None:
    with pytest.raises(GradflowError, match="no training began"):
        _ = Session((), 10, {}).result


def test_misspelt_codes_and_counts_are_refused_at_once() -> None:
    with pytest.raises(GradflowError, match="unknown finding 'vanish'"):
        Session("vanish", 10, {})
    with pytest.raises(GradflowError, match="check_every must be at least 1"):
        Session((), 0, {})


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = missing("keras", ImportError("No module named 'keras'", name="keras"))
    assert str(error) == "No module named 'keras': pip install 'gradflow-diagnostics[keras]'"
    assert error.name == "keras"
