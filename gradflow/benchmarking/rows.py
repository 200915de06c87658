"""From the epochs of all runs to a row per setting: means, intervals, paired comparisons."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradflow.findings.thresholds import EQUAL
from gradflow.results.benchmark import BenchmarkRow, HistoryRow, Setting, labels

_LEVEL = 0.05  # of the tests, and of what the intervals leave out
_NORMAL = 1.959963984540054  # its two-sided quantile of the normal distribution


@dataclass(frozen=True)
class Outcome:
    """The runs of one setting that went furthest.

    Attributes
    ----------
    runs
        By seed, the epochs in their order.
    best_epoch
        See `BenchmarkRow`.
    """

    setting: Setting
    runs: dict[int, list[HistoryRow]]
    best_epoch: int

    @property
    def best(self) -> list[HistoryRow]:
        """Every seed's row of the best epoch."""
        return [rows[self.best_epoch - 1] for rows in self.runs.values()]

    @property
    def accuracies(self) -> dict[int, float]:
        """Test accuracy at the best epoch by seed."""
        return {row.seed: row.test_accuracy for row in self.best}


@dataclass(frozen=True)
class Difference:
    """Of two settings' test accuracies: mean, half the 95 % interval and p where there are seeds.

    ``noise`` is what a difference of one seed each has to exceed; ``p_equal`` is of the two
    one-sided tests that the difference is below `EQUAL` (Schuirmann 1987).
    """

    mean: float
    margin: float | None
    p: float | None
    noise: float
    p_equal: float | None = None

    @property
    def clear(self) -> bool:
        """Whether it is larger than what chance gives."""
        if self.p is not None:
            return self.p < _LEVEL
        return self.mean != 0 and abs(self.mean) >= self.noise

    @property
    def equal(self) -> bool:
        """Whether it is shown to be small. One seed shows nothing: runs scatter by more."""
        return self.p_equal is not None and self.p_equal < _LEVEL

    @property
    def verdict(self) -> str:
        """What is to be said of it; a small difference can be a clear one."""
        if self.clear:
            return "better" if self.mean > 0 else "worse"
        return "equal" if self.equal else "not told apart"


@dataclass(frozen=True)
class Summary:
    """A row per setting, and what the best one's accuracy says of the others.

    Attributes
    ----------
    reference
        Label of the setting that the others are compared to; None where there is one setting.
    ties
        Labels of the settings that cannot be told from the best one.
    equals
        Those of them that are shown to be as good, to within `EQUAL`.
    """

    rows: tuple[BenchmarkRow, ...] = ()
    reference: str | None = None
    ties: tuple[str, ...] = ()
    equals: tuple[str, ...] = ()


def outcomes(history: Iterable[HistoryRow]) -> list[Outcome]:
    """Return an outcome for each setting that has a finished epoch, in order of appearance."""
    runs: dict[Setting, dict[int, list[HistoryRow]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(history, key=lambda row: row.epoch):
        runs[row.setting][row.seed].append(row)
    order = dict.fromkeys(row.setting for row in history)
    return [_outcome(setting, runs[setting]) for setting in order]


def _outcome(setting: Setting, runs: dict[int, list[HistoryRow]]) -> Outcome:
    last = max(len(rows) for rows in runs.values())
    furthest = {seed: rows for seed, rows in sorted(runs.items()) if len(rows) == last}
    return Outcome(setting, furthest, _best_epoch(list(furthest.values())))


def _best_epoch(runs: Sequence[Sequence[HistoryRow]]) -> int:
    table = [[row.validation_accuracy for row in rows] for rows in runs]
    if any(value is None for values in table for value in values):
        return len(table[0])
    return 1 + int(np.argmax(np.array(table, dtype=np.float64).mean(axis=0)))


def summarize(
    history: Sequence[HistoryRow],
    train_size: int,
    test_size: int,
    target: float | None = None,
) -> Summary:
    """Return a row per setting, each compared to its reference and all to the best one.

    The reference is ReLU with the same other options where several activations were trained and it
    is among them, else the first setting.
    """
    found = outcomes(history)
    if not found:
        return Summary()
    names = labels(history)
    rows = [_row(outcome, history, train_size, target) for outcome in found]
    references = [_reference(outcome, found) for outcome in found]
    against = [
        None if ref is own else difference(own, ref, test_size)
        for own, ref in zip(found, references, strict=True)
    ]
    rows = [_compared(row, d) for row, d in zip(rows, corrected(against), strict=True)]
    same = len({ref.setting for ref in references}) == 1
    reference = names[references[0].setting] if same else "relu"
    close = _close(found, test_size)
    return Summary(
        tuple(rows),
        reference if len(found) > 1 else None,
        tuple(names[setting] for setting in close),
        tuple(names[setting] for setting, gap in close.items() if gap.equal),
    )


def _row(
    outcome: Outcome, history: Sequence[HistoryRow], train_size: int, target: float | None
) -> BenchmarkRow:
    accuracies = np.array(list(outcome.accuracies.values()))
    own = [row for row in history if row.setting == outcome.setting]
    seconds = math.fsum(row.seconds for row in own)
    spread = accuracies.std(ddof=1) if len(accuracies) > 1 else None
    validation = [row.validation_accuracy for row in outcome.best]
    return BenchmarkRow(
        **vars(outcome.setting),
        seeds=len(accuracies),
        test_accuracy=float(accuracies.mean()),
        test_accuracy_std=None if spread is None else float(spread),
        test_accuracy_margin=_margin(accuracies),
        validation_accuracy=None if None in validation else float(np.mean(validation)),  # type: ignore[arg-type]
        test_loss=float(np.mean([row.test_loss for row in outcome.best])),
        best_epoch=outcome.best_epoch,
        seconds=seconds,
        images_per_second=train_size * len(own) / seconds if seconds else math.inf,
        seconds_to_target=None if target is None else _seconds_to(target, outcome),
    )


def _margin(values: np.ndarray) -> float | None:
    """Return half the 95 % interval of the mean (Student's t); None for one value."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    quantile = stdtrit(len(values) - 1, 1 - _LEVEL / 2)
    return float(quantile * values.std(ddof=1) / math.sqrt(len(values)))


def _seconds_to(target: float, outcome: Outcome) -> float | None:
    times = []
    for rows in outcome.runs.values():
        ends = np.cumsum([row.seconds for row in rows])
        reached = [row.test_accuracy >= target for row in rows]
        times.append(float(ends[reached.index(True)]) if any(reached) else math.inf)
    median = float(np.median(times))
    return median if math.isfinite(median) else None


def difference(a: Outcome, b: Outcome, test_size: int) -> Difference:
    """Return a − b of the test accuracies: paired over the seeds that both have, else of means."""
    common = sorted(a.accuracies.keys() & b.accuracies.keys())
    noise = _NORMAL * math.hypot(*(_standard_error(o, test_size) for o in (a, b)))
    if len(common) < 2:
        means = [float(np.mean(list(o.accuracies.values()))) for o in (a, b)]
        return Difference(means[0] - means[1], None, None, noise)
    gaps = np.array([a.accuracies[seed] - b.accuracies[seed] for seed in common])
    equal = max(_one_sided_p(gaps + EQUAL), _one_sided_p(EQUAL - gaps))
    return Difference(float(gaps.mean()), _margin(gaps), _paired_p(gaps), noise, equal)


def _standard_error(outcome: Outcome, test_size: int) -> float:
    """Return that of a share of the test images, lessened by the number of seeds."""
    p = float(np.mean(list(outcome.accuracies.values())))
    return math.sqrt(p * (1 - p) / max(test_size, 1) / len(outcome.accuracies))


def _paired_p(gaps: np.ndarray) -> float:
    """Return the two-sided p of Student's paired t-test."""
    from scipy.special import stdtr

    if np.ptp(gaps) == 0:  # t would be 0/0 or infinite
        return 1.0 if gaps[0] == 0 else 0.0
    t = gaps.mean() / (gaps.std(ddof=1) / math.sqrt(len(gaps)))
    return float(2 * stdtr(len(gaps) - 1, -abs(t)))


def _one_sided_p(gaps: np.ndarray) -> float:
    """Return the p of Student's paired t-test that the mean is above 0."""
    half = _paired_p(gaps) / 2
    return half if gaps.mean() > 0 else 1 - half


def corrected(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """Return them with both p multiplied for the number of tests (Holm 1979, step-down)."""
    for name in ("p", "p_equal"):
        differences = _multiplied(differences, name)
    return list(differences)


def _multiplied(differences: Sequence[Difference | None], name: str) -> list[Difference | None]:
    known = [(getattr(d, name), i) for i, d in enumerate(differences) if d is not None]
    tested = [(p, i) for p, i in known if p is not None]
    result = list(differences)
    largest = 0.0
    for rank, (p, i) in enumerate(sorted(tested)):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        result[i] = replace(differences[i], **{name: largest})  # type: ignore[type-var]
    return result


def _compared(row: BenchmarkRow, d: Difference | None) -> BenchmarkRow:
    if d is None:
        return replace(row, comparison="reference")
    return replace(
        row,
        difference=d.mean,
        difference_margin=d.margin,
        p_value=d.p,
        p_value_equal=d.p_equal,
        comparison=d.verdict,
    )


def _reference(outcome: Outcome, found: Sequence[Outcome]) -> Outcome:
    if len({other.setting.activation for other in found}) == 1:
        return found[0]
    wanted = replace(outcome.setting, activation="relu")
    return next((other for other in found if other.setting == wanted), found[0])


def _close(found: Sequence[Outcome], test_size: int) -> dict[Setting, Difference]:
    """Return how far the best one is from those that it is not clearly better than."""
    best = max(found, key=lambda outcome: float(np.mean(list(outcome.accuracies.values()))))
    others = [outcome for outcome in found if outcome is not best]
    gaps = corrected([difference(best, other, test_size) for other in others])
    return {
        other.setting: gap
        for other, gap in zip(others, gaps, strict=True)
        if gap is not None and not gap.clear
    }
