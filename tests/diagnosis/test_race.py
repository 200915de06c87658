"""Remedies are trained side by side, and what is clearly worse is given up early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.remedies import grid
from gradflow.diagnosis.remedies.grid import Pace, Plan, Rate, Trial
from gradflow.diagnosis.remedies.outcome import OutOfTimeError, row
from gradflow.diagnosis.remedies.race import Entrant, begin, raced
from gradflow.diagnosis.remedies.replicas import Replicas, examples
from gradflow.diagnosis.remedies.trial import Contest, Course, parted
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

RATE = Rate("adam", 0.001)


@dataclass
class Falling:
    """Its loss falls from 1 by so much over all steps."""

    fall: float
    shares: list[float] = field(default_factory=list)

    def until(self, share: float) -> None:
        self.shares.append(share)

    def trial(self) -> Trial:
        share = self.shares[-1]
        return Trial(1 - share * self.fall, RATE, round(100 * share))


def entrant(name: str, contest: Falling, pace: Pace, healthy: bool = True) -> Entrant:
    begin(contest, pace)
    return Entrant(partial(row, name, DiagnosisResult(records=())), contest, healthy)


def race(
    falls: dict[str, float], pace: Pace, healthy: Callable[[str], bool] = lambda _: True
) -> dict[str, RemedyRow]:
    starts = [
        partial(entrant, name, Falling(fall), pace, healthy(name)) for name, fall in falls.items()
    ]
    done = raced(starts, pace, lambda _done, _total: None, Falling(0.0))
    assert done.begun == len(falls)
    return {row.remedy: row for row in done.rows}


def test_the_worse_half_is_given_up_early_and_the_best_three_go_to_the_end() -> None:
    falls = {name: 0.1 * number for number, name in enumerate("abcdefgh", start=1)}
    rows = race(falls, Pace(100, 9, 0.2))
    steps = dict.fromkeys("abcd", 20) | {"e": 50} | dict.fromkeys("fgh", 100)
    assert {name: row.steps for name, row in rows.items()} == steps
    assert rows["h"].trained_loss == pytest.approx(0.2)
    assert rows["e"].trained_loss == pytest.approx(0.75)
    assert rows["a"].trained_loss == pytest.approx(0.98)


def test_of_those_that_have_not_fallen_the_healthy_go_on() -> None:
    falls = dict.fromkeys("abcdefg", 0.05) | {"h": 0.9}
    rows = race(falls, Pace(100, 9, 0.2), healthy=lambda name: name in "efg")
    assert {name for name, row in rows.items() if row.steps == 50} < set("efg")
    assert {name for name, row in rows.items() if row.steps == 100} < set("efgh")
    assert rows["h"].steps == 100


def test_all_go_to_the_end_where_steps_were_asked_for() -> None:
    rows = race({"a": 0.0, "b": 0.5, "c": 0.9, "d": 1.0}, Plan(steps=100).fitting(1.0, 1.0, 5))
    assert {row.steps for row in rows.values()} == {100}


def test_time_that_runs_out_leaves_what_there_is() -> None:
    def over() -> Entrant:
        raise OutOfTimeError

    pace = Pace(100, 3, 0.2)
    starts = [partial(entrant, "a", Falling(0.5), pace), over]
    done = raced(starts, pace, lambda _done, _total: None, None)
    assert ([row.steps for row in done.rows], done.begun) == ([20], 1)


def test_replicas_train_as_a_network_alone_does() -> None:
    config = NetworkConfig(depth=2, width=8, device="cpu", act="relu", init="he-normal")
    data, pace = examples(config), Plan(steps=12).fitting(1.0, 1.0, 2)
    together = Replicas(config, data, Plan().rates(), 12)
    begin(together, pace)
    found = together.trial()
    alone = Replicas(config, data, (found.rate,), 12)
    begin(alone, pace)
    assert found.steps == alone.trial().steps == 12
    assert found.loss == pytest.approx(alone.trial().loss, rel=1e-4)


def test_examples_that_no_step_sees_decide() -> None:
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    y = torch.randint(4, (200,), generator=torch.Generator().manual_seed(1))  # to be known by heart
    objective, held = parted(Objective(x, y))
    assert len(objective.targets) == 150
    assert len(held.targets) == 50
    rows = {tuple(one) for one in objective.inputs.tolist()}
    assert not rows.intersection(tuple(one) for one in held.inputs.tolist())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    contest = Contest(model, Course(objective, held, None, 60), (Rate("adam", 1e-2),))
    contest.until(1.0)
    assert contest.runs[0].losses[-1] < 0.8
    assert contest.trial().loss > 1.3
    few = Objective(x[:40], y[:40])
    assert parted(few) == (few, few)


def test_a_model_that_refuses_weights_that_are_not_finite_has_diverged() -> None:
    class Strict(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.weight.abs().max() < 10:
                raise ValueError("too large")
            return super().forward(x)

    x = 1e3 * torch.randn(20, 4)
    course = Course(*parted(Objective(x, x.argmax(1))), None, 20)
    contest = Contest(Strict(4, 4), course, (Rate("sgd", 1.0),))
    contest.until(1.0)
    assert contest.trial().loss == float("inf")


def test_by_default_remedies_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "STEPS", 24)
    config = NetworkConfig(act="sigmoid", depth=6, width=8, device="cpu")
    told: list[tuple[int, int]] = []
    result = diagnose(config, remedies=True, progress=lambda *counts: told.append(counts))
    steps = {row.steps for row in result.remedies}
    assert steps == {8, 12, 24} == {8, 12, result.trial_steps}
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > len(result.remedies)


def test_ctrl_c_leaves_what_was_tried_and_says_so(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    until = Replicas.until

    def stopped(self: Replicas, share: float) -> None:
        if self.update.loop.clip is not None:
            raise KeyboardInterrupt
        until(self, share)

    monkeypatch.setattr(Replicas, "until", stopped)
    options = ["--init", "he-normal", "--gain", "5", "--width", "16", "--device", "cpu"]
    done = run("diagnose", *options, "--trial-steps", "2")
    assert done.exit_code == 130
    assert "\nExploding" in done.stdout
    assert "interrupted:" in done.stdout
    assert "critical weights" in done.stdout
    assert "not tried, after Ctrl-C" in done.stdout.replace("\n", " ")
