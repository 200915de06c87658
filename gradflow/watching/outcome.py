"""Whether a run learnt, read off its losses; and what that makes of predictions. Stdlib only."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from gradflow.findings.thresholds import (
    ENOUGH_EXAMPLES,
    FELL,
    FLAT,
    LABELS_EACH,
    LEAST_LOSSES,
    MOST_PENALISED,
)
from gradflow.results.base import Finding
from gradflow.results.facts import BatchFacts, CriterionFacts
from gradflow.results.watching import WatchResult

#: Errors that training itself is the evidence of: they stay whatever the loss does.
MEASURED = frozenset({"broken", "diverged", "skipped", "unreached"})

#: What a constant prediction has as one criterion's loss of a batch.
Constant = Callable[[CriterionFacts, BatchFacts], float | None]

#: By how much a loss may differ from the mean of an example's, in float32.
_UNWEIGHTED = 1e-3

#: Errors that come with a huge first loss: that it falls is no evidence against them.
FROM_HIGH = frozenset({"exploding", "initial-loss"})


@dataclass(frozen=True)
class Curve:
    """The losses of a run in a few numbers, robust to noise.

    Attributes
    ----------
    count
        Of the losses.
    first, last
        Medians of its first and last part.
    lowest
        The lowest median of a tenth.
    noise
        How far a part's median scatters.
    middle
        The median of the middle part.
    last_mean
        The mean of its last part, which a few huge losses raise.
    """

    count: int
    first: float
    middle: float
    last: float
    last_mean: float
    lowest: float
    noise: float

    @property
    def fall(self) -> float:
        """By how much it fell."""
        return self.first - self.last

    @property
    def clear(self) -> bool:
        """Whether it fell by far more than noise."""
        return self.fall > 4 * self.noise


def curve(losses: Sequence[float | None]) -> Curve | None:
    """Return the curve of these losses; None where they are too few, or one is not finite."""
    known = [loss for loss in losses if loss is not None]
    if len(known) < LEAST_LOSSES or not all(map(math.isfinite, known)):
        return None
    part = max(1, len(known) // 10)
    parts = [known[i : i + part] for i in range(0, len(known) - part + 1, part)]
    medians = [median(p) for p in parts]
    middle = len(known) // 2
    return Curve(
        count=len(known),
        first=_start(known, part),
        middle=median(known[middle - part // 2 : middle - part // 2 + part]),
        last=median(known[-max(part, 3) :]),
        last_mean=fmean(known[-max(part, 3) :]),
        lowest=min(medians),
        noise=_noise(known, part),
    )


def losses_curve(result: WatchResult) -> Curve | None:
    """Return the curve of a run's losses."""
    return curve([step.loss for step in result.steps])


def _start(losses: Sequence[float], part: int) -> float:
    """Return the loss at the start: of the first few, or the first if they rise from it.

    A median of more would hide a loss that falls at once.
    """
    few = median(losses[: max(1, min(part, 5))])
    return losses[0] if few > losses[0] + 4 * _scatter(losses) else few


def _scatter(losses: Sequence[float]) -> float:
    """Return how far one loss scatters, from how far neighbours differ."""
    # Of normal losses, neighbours differ by 0.954 σ at the median.
    return median(abs(b - a) for a, b in itertools.pairwise(losses)) / 0.954


def _noise(losses: Sequence[float], part: int) -> float:
    """Return how far the median of so many losses scatters."""
    return 1.25 * _scatter(losses) / math.sqrt(part)


def outcome(result: WatchResult) -> str:
    """Return ``"learnt"``, ``"not"`` or ``"unknown"``."""
    found = losses_curve(result)
    if found is None:
        return "unknown"
    if penalty_won(result) is not None:
        return "not"  # whatever the whole loss did
    return outcome_of(found, _over_batches(result, _alike), constant_loss(result))


def penalty_won(result: WatchResult) -> tuple[CriterionFacts, CriterionFacts] | None:
    """Return a criterion at the start and later, if a penalty on weights kept it from being learnt.

    The loss has then fallen by the penalty alone: of the targets nothing more is known than a
    constant prediction tells.
    """
    first, last = result.facts.batch, result.facts.last_batch
    if first is None or last is None or first is last or first.penalised < MOST_PENALISED:
        return None
    if len(first.criteria) != 1 or len(last.criteria) != 1:
        return None
    own, constant = last.criteria[0].first_loss, last.criteria[0].constant_loss
    if not own or not constant or own < FLAT * constant or (last.examples or 0) < ENOUGH_EXAMPLES:
        return None
    return first.criteria[0], last.criteria[0]


def outcome_of(found: Curve, constant: float | None, best: float | None = None) -> str:
    """Return the same of a curve.

    Parameters
    ----------
    constant, best
        The loss of a constant prediction, where it is known: of the mean or of all classes alike,
        and of the best.
    """
    if min(found.first, found.last) < 0:  # of either sign: no share of it means anything
        return "unknown"
    if best is not None and found.last > FLAT * best:
        return "not"  # though it fell, of the inputs nothing was learnt
    start = found.first if constant is None else min(found.first, constant)
    if found.clear and max(found.last, found.last_mean) < FELL * start:
        return "learnt"
    if found.last > FLAT * start:
        return "not"
    return "unknown"


def constant_loss(result: WatchResult) -> float | None:
    """Return the loss of the best constant prediction, where the facts of a batch tell it.

    None where one batch was judged otherwise than another, as a critic is in its rival's pass.
    """
    return _over_batches(result, _best)


def _over_batches(result: WatchResult, constant: Constant) -> float | None:
    batches = [b for b in (result.facts.batch, result.facts.last_batch) if b is not None]
    judged_by = {tuple(criterion.kind for criterion in batch.criteria) for batch in batches}
    found = [c for c in (_constant_of(b, constant) for b in batches) if c is not None]
    if not found or len(judged_by) > 1:
        return None
    return fmean(found) * _passes(result)


def _alike(criterion: CriterionFacts, _: BatchFacts) -> float | None:
    """The loss of the mean, or of all classes alike."""
    return criterion.constant_loss


def _best(criterion: CriterionFacts, batch: BatchFacts) -> float | None:
    """The same, of classes as often as they are, where the batch holds enough of each.

    An entropy from few labels is too small: by (classes - 1) / 2n at the mean (Miller, 1955), and
    by chance. Not where examples have weights, so that the loss is not the mean of an example's.
    """
    alike, entropy, classes = criterion.constant_loss, criterion.label_entropy, criterion.classes
    examples, own = batch.examples or 0, criterion.first_loss
    if alike is None or entropy is None or not classes or not own or not batch.loss:
        return alike
    few = examples < LABELS_EACH * classes or (criterion.labels or 0) < 2
    if few or abs(batch.loss / own - 1) > _UNWEIGHTED:
        return alike
    slack = (classes - 1) / (2 * examples) + 2 * (criterion.label_entropy_error or 0.0)
    return min(alike, entropy + slack)


def _constant_of(batch: BatchFacts | None, constant_of: Constant) -> float | None:
    """Return what a constant prediction had as this batch's loss; None of few examples."""
    if batch is None or batch.loss is None or len(batch.criteria) != 1:
        return None
    (criterion,) = batch.criteria
    constant, own = constant_of(criterion, batch), criterion.first_loss
    known = constant is not None and own is not None and math.isfinite(own + batch.loss)
    known = known and not criterion.beside  # a part cannot be told from the rest of the loss
    if not known or (batch.examples or 0) < ENOUGH_EXAMPLES or not own or not constant:
        return None
    scale = batch.loss / own  # a sum, or divided by the backward passes of a step
    return constant * scale if scale > 0 else None


def _passes(result: WatchResult) -> float:
    """Return from how many backward passes of the first batch's kind a step's loss is summed."""
    first = next((s.loss for s in result.steps if s.loss is not None), None)
    batch = result.facts.batch
    if first is None or batch is None or not batch.loss or not math.isfinite(first / batch.loss):
        return 1.0
    return float(max(1, round(first / batch.loss)))


def tempered(findings: Iterable[Finding], result: WatchResult) -> Iterator[Finding]:
    """Make warnings of errors that are predictions, where the run has learnt all the same."""
    learnt = outcome(result) == "learnt"
    kept = MEASURED if constant_loss(result) is not None else MEASURED | FROM_HIGH
    for found in findings:
        predicted = found.severity == "error" and found.code not in kept
        yield dataclasses.replace(found, severity="warning") if learnt and predicted else found
