"""How well the verdict tells what will learn, in twelve families and for either optimizer.

Reads what calibration_families.py wrote, diagnoses every network anew at its initialisation, and
holds the verdict against the training. Even seeds are the half on which thresholds were chosen, odd
ones judge them; parts of their own are the kinds of families/others.py, and what was drawn after
the last bound was chosen. A network is *sick* where the best rate leaves the loss above 0.8 of the
best constant prediction's; between that and 0.6 it is slow, and counted apart.

    python benchmarks/calibration_families_fit.py [--list]
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration_families import outcomes
from calibration_fit import auc, picture
from families.others import OTHERS, draw_any
from numpy.typing import NDArray

from gradflow import diagnose
from gradflow.diagnosis.checks import CHECKS
from gradflow.diagnosis.checks.loss import agreement
from gradflow.diagnosis.checks.margins import margins
from gradflow.findings.batches import of_batch
from gradflow.findings.check import judged
from gradflow.findings.output_checks import times_constant
from gradflow.findings.thresholds import (
    AGREE,
    DISAGREEING_LOSS,
    HOPELESS_LOSS,
    Tolerance,
    tolerances,
)
from gradflow.results.diagnosis import DiagnosisResult

HERE = Path(__file__).parent
EXAMPLES = 64
#: Parts that were drawn when every bound stood, by their first seed. Before E was looked at, one
#: more was loosened, for outputs of one number.
UNSEEN = {"D": 70_000, "E": 90_000}
LEARNS, SICK = 0.6, 0.8  # of the best constant prediction's loss
#: What the verdict is for; None: any.
OPTIMIZERS = {"either": None, "adam": "adam", "sgd": "sgd"}
#: Verdicts of what no optimizer mends, whatever the decades.
HARD = ("broken", "dead", "no-gradient", "targets")


@dataclass(frozen=True)
class Judged:
    """One network: what came of it, and what is said of it.

    Attributes
    ----------
    family, seed, options
        As it was drawn.
    left
        By optimizer: the best loss after training, over the best constant prediction's.
    result
        The diagnosis at its initialisation.
    """

    family: str
    seed: int
    options: dict[str, Any]
    left: dict[str, float]
    result: DiagnosisResult

    def verdict(self, optimizer: str) -> str:
        """Return the verdict for an optimizer."""
        facts = replace(self.result.facts, optimizer=OPTIMIZERS[optimizer])
        return judged(replace(self.result, facts=facts), CHECKS).verdict

    def passed(self, optimizer: str) -> bool:
        """Return whether the verdict lets it pass."""
        return self.verdict(optimizer) in ("healthy", "unjudged")

    def strain(self, optimizer: str) -> float:
        """Return how far it is towards a verdict: 1 and more is sick."""
        hard = 100.0 if self.verdict(optimizer) in HARD else 0.0
        return max(strain(self.result, tolerances(OPTIMIZERS[optimizer])[1]), hard)


def strain(result: DiagnosisResult, tolerance: Tolerance) -> float:
    """Return the largest of what is measured over what an optimizer copes with."""
    return min(max(strains(result, tolerance).values()), 100.0)


def strains(result: DiagnosisResult, tolerance: Tolerance) -> dict[str, float]:
    """Return what is measured over what an optimizer copes with, by what it is."""
    found = {one.name: one.strain(tolerance) for one in margins(result)}
    first = max((times_constant(one) for one in of_batch(result).criteria), default=0.0)
    agree = agreement(result)
    hopeless = HOPELESS_LOSS if agree is None or agree >= AGREE else DISAGREEING_LOSS
    return found | {"first loss": math.log10(max(first, 1.0)) / math.log10(hopeless)}


def measured(record: dict[str, Any]) -> Judged:
    """Draw a network once more and diagnose it."""
    family, seed = record["family"], record["seed"]
    drawn = draw_any(family, seed, record.get("harsh", False))
    inputs, targets = drawn.task.batch(EXAMPLES, torch.Generator().manual_seed(99))
    result = diagnose(drawn.model, inputs, targets, loss=drawn.task.loss, lr=1e-3)
    left = {kind: share(record, of.values()) for kind, of in record["runs"].items()}
    left["either"] = min(left.values())
    return Judged(family, seed, record["options"], left, result)


def share(record: dict[str, Any], runs: Iterable[list[float | None]]) -> float:
    """Return the best loss over the constant's; a flow's in the same marks, by its nats."""
    best = min(math.inf if run[-1] is None else run[-1] for run in runs)
    if record["family"] != "flow":
        return float(best / record["constant"])
    gained = record["constant"] - best
    return 0.5 if gained > 1 else 0.7 if gained > 0.5 else 1.0


@dataclass(frozen=True)
class Count:
    """How a verdict does on some networks."""

    learn: int
    sick: int
    slow: int
    alarms: int
    misses: int
    slow_passed: int

    @property
    def balanced(self) -> float:
        """The mean of the shares judged rightly among those that learn and those that do not."""
        right = [
            (n - wrong) / n
            for n, wrong in ((self.learn, self.alarms), (self.sick, self.misses))
            if n
        ]
        return sum(right) / len(right) if right else math.nan


def counted(networks: list[Judged], optimizer: str) -> Count:
    """Return how the verdict for an optimizer does."""
    learn, sick, slow = parts(networks, optimizer)
    return Count(
        len(learn),
        len(sick),
        len(slow),
        sum(not n.passed(optimizer) for n in learn),
        sum(n.passed(optimizer) for n in sick),
        sum(n.passed(optimizer) for n in slow),
    )


def parts(networks: list[Judged], optimizer: str) -> tuple[list[Judged], ...]:
    """Return those that learn, those that do not, and those that are slow."""
    left = [(n, n.left[optimizer]) for n in networks]
    return (
        [n for n, q in left if q < LEARNS],
        [n for n, q in left if q >= SICK],
        [n for n, q in left if LEARNS <= q < SICK],
    )


def curve(networks: list[Judged], optimizer: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return strains and whether each network learns, the slow ones left out."""
    learn, sick, _ = parts(networks, optimizer)
    score = np.array([n.strain(optimizer) for n in (*learn, *sick)])
    return score, np.arange(len(score)) < len(learn)


def halves_of(networks: list[Judged]) -> list[list[Judged]]:
    """Return half A and half B."""
    return [[n for n in networks if n.seed % 2 == half] for half in (0, 1)]


def table(halves: list[list[Judged]], optimizer: str) -> None:
    """Print a line a family, and one for all, on every half."""
    networks = [n for half in halves for n in half]
    print(
        f"\n{optimizer}: balanced accuracy (wrongly sick of those that learn, missed of the sick)"
    )
    for family in dict.fromkeys(n.family for n in networks):
        rows = [[n for n in half if n.family == family] for half in halves]
        print(f"{family:14}" + "".join(_cell(counted(row, optimizer)) for row in rows))
    print(f"{'all':14}" + "".join(_cell(counted(half, optimizer)) for half in halves))
    slow = counted(networks, optimizer)
    aucs = (f"  {_auc(half, optimizer):5.3f}" for half in halves)
    print(f"{'AUC':14}" + (" " * 17).join(aucs))
    print(f"{slow.slow} are slow, of which {slow.slow_passed} pass")


def _cell(count: Count) -> str:
    wrong = f"({count.alarms} of {count.learn}, {count.misses} of {count.sick})"
    return f"  {count.balanced:5.3f} {wrong:16}"


def _auc(networks: list[Judged], optimizer: str) -> float:
    score, learned = curve(networks, optimizer)
    return auc(score, learned) if 0 < learned.sum() < len(learned) else math.nan


def listed(networks: list[Judged], optimizer: str) -> None:
    """Print every network that is judged wrongly."""
    learn, sick, _ = parts(networks, optimizer)
    for what, wrong in (("wrongly sick", learn), ("missed", sick)):
        for n in wrong:
            if n.passed(optimizer) == (wrong is sick):
                _show(n, optimizer, what)


def _show(n: Judged, optimizer: str, what: str) -> None:
    """Print a network with the facts that its verdict rests on, over their bounds."""
    options = ", ".join(f"{k} {v}" for k, v in n.options.items() if k != "scaled")
    facts = strains(n.result, tolerances(OPTIMIZERS[optimizer])[1])
    print(
        f"{optimizer}: {what}: {n.family} {n.seed}, {n.verdict(optimizer)}, "
        f"{n.left[optimizer]:.2f} of the constant's loss left: {options}; over their bounds: "
        + ", ".join(f"{name} {value:.2f}" for name, value in facts.items())
    )


def main() -> None:
    """Diagnose, count, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=HERE / "results" / "families.jsonl")
    parser.add_argument(
        "--figure", type=Path, default=HERE.parent / "docs/images/calibration-families.png"
    )
    parser.add_argument("--list", action="store_true", help="show every wrong verdict")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    networks = [measured(record) for record in outcomes(given.records)]
    print(f"{len(networks)} networks; chosen on half A (even seeds), judged on half B (odd seeds)")
    own = [n for n in networks if n.family not in OTHERS and n.seed < UNSEEN["D"]]
    for optimizer in OPTIMIZERS:
        table(halves_of(own), optimizer)
    others = [n for n in networks if n.family in OTHERS]
    drawn = [n for n in networks if n.family not in OTHERS]
    first = [n for n in drawn if UNSEEN["D"] <= n.seed < UNSEEN["E"]]
    second = [n for n in drawn if n.seed >= UNSEEN["E"]]
    for what, part in (
        ("C: {} networks of kinds on which nothing was chosen", others),
        ("D: {} networks drawn when all bounds but one were chosen", first),
        ("E: {} networks that nobody had looked at when the last was chosen", second),
    ):
        if part:
            print(f"\npart {what.format(len(part))}")
            for optimizer in OPTIMIZERS:
                table([part], optimizer)
    if given.list:
        for optimizer in OPTIMIZERS:
            listed(networks, optimizer)
    judging = halves_of(own)[1]
    picture({optimizer: curve(judging, optimizer) for optimizer in OPTIMIZERS}, given.figure)


if __name__ == "__main__":
    main()
