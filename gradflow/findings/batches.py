"""What the checks of a batch share: its facts, and the words for what a loss is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gradflow.findings.thresholds import LEAST_TOGETHER, ONE_DIRECTION, Tolerance
from gradflow.results.base import Result
from gradflow.results.facts import BatchFacts

#: Criteria in words.
CRITERIA = {
    "cross-entropy": "cross-entropy",
    "nll": "the NLL loss",
    "bce": "binary cross-entropy",
    "bce-with-logits": "binary cross-entropy with logits",
    "mse": "the squared error",
    "l1": "the absolute error",
    "smooth-l1": "the smooth absolute error",
    "huber": "the Huber loss",
    "poisson": "the Poisson loss",
    "kl": "the KL divergence",
    "log-likelihood": "the log-likelihood",
    "gaussian": "the Gaussian log-likelihood",
    "ctc": "the CTC loss",
    "soft-margin": "the soft margin loss",
    "multi-margin": "the multi-class margin loss",
    "multilabel-margin": "the multi-label margin loss",
    "multilabel-soft-margin": "the multi-label soft margin loss",
    "cosine-embedding": "the cosine embedding loss",
    "hinge-embedding": "the hinge embedding loss",
    "margin-ranking": "the margin ranking loss",
    "triplet-margin": "the triplet margin loss",
}

#: Criteria that hold one number against another.
DISTANCES = frozenset({"mse", "l1", "smooth-l1", "huber"})
#: Criteria of classes.
OF_CLASSES = frozenset({"cross-entropy", "nll"})
#: Criteria of which the targets are signs.
OF_SIGNS = frozenset({"soft-margin", "cosine-embedding", "hinge-embedding", "margin-ranking"})
#: Criteria of probabilities of two classes.
OF_TWO = frozenset({"bce", "bce-with-logits"})


def of_batch(result: Result) -> BatchFacts:
    """Return the facts of a result's batch; empty ones where it has none."""
    found = getattr(getattr(result, "facts", None), "batch", None)
    return found if isinstance(found, BatchFacts) else BatchFacts()


def no_choice(facts: BatchFacts) -> bool:
    """Return whether an output is the same whatever the network does: a softmax over one unit."""
    return any(
        criterion.classes == 1 or any(a.size == 1 for a in criterion.activations)
        for criterion in facts.criteria
    )


def lost_at(facts: BatchFacts) -> tuple[str, str] | None:
    """Return where values stopped being finite, if not in a layer; and what to do about it."""
    if facts.loss is not None and math.isfinite(facts.loss):
        return hazard(facts)
    for one in facts.inputs:
        if one.nonfinite:
            return (
                f"{one.nonfinite} of the batch's {math.prod(one.shape)} input values are not "
                "finite, and so is the loss",
                "leave these examples out, or fill the values in, before they reach the model",
            )
    for criterion in facts.criteria:
        target = criterion.target
        if target is not None and target.nonfinite:
            return (
                f"{target.nonfinite} of the batch's {math.prod(target.shape)} targets are not "
                "finite, and so is the loss",
                "leave these examples out, or fill them in, before they are batched",
            )
    return hazard(facts)


def hazard(facts: BatchFacts) -> tuple[str, str] | None:
    """Return which operation of the loss has no finite gradient, and what to do about it."""
    for name, entries in facts.hazards:
        return (
            f"the loss takes {_HAZARDS[name]}, at {entries} "
            f"{'entry' if entries == 1 else 'entries'}: its gradient is not finite there, even "
            "where what follows multiplies it by 0",
            _AGAINST[name],
        )
    return None


_HAZARDS = {
    "sqrt": "the square root of exactly 0",
    "log": "the logarithm of exactly 0",
    "div": "a quotient by exactly 0",
    "acos": "the arc cosine or sine of exactly 1",
}
_AGAINST = {
    "sqrt": "(x + 1e-12).sqrt(), or clamp(min=1e-12) before the root",
    "log": "log(p.clamp(min=1e-8)), or log_softmax or logsigmoid of the scores",
    "div": "x / (y + 1e-8), or clamp(min=1e-8) below",
    "acos": "clamp(-1 + 1e-6, 1 - 1e-6) before it",
}


def in_words(kind: str) -> str:
    """Return a criterion in words."""
    return CRITERIA.get(kind, kind)


def sized(shape: Iterable[int]) -> str:
    """Return a shape as torch prints it."""
    numbers = tuple(shape)
    return f"({numbers[0]},)" if len(numbers) == 1 else f"({', '.join(map(str, numbers))})"


def many(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@dataclass(frozen=True)
class OutputSignal:
    """What is left of the difference between examples in what a criterion judges.

    Attributes
    ----------
    decades
        By how many it is smaller than the outputs themselves, in amplitude.
    numbers
        Whether they are held against numbers.
    on_a_line
        Whether they are scores of more than two classes, and all examples lie on one line: no
        more than two can be told apart.
    single
        Whether an example has one number.
    """

    decades: float
    numbers: bool = False
    on_a_line: bool = False
    single: bool = False

    def bound(self, tolerance: Tolerance) -> float:
        """Return how many an optimizer copes with."""
        if self.on_a_line:
            return tolerance.line_decades
        if not self.numbers:
            return tolerance.score_decades
        return tolerance.number_decades if self.single else tolerance.value_decades

    def bound_together(self, tolerance: Tolerance) -> float:
        """Return how many an optimizer copes with, with those that δ loses."""
        if not self.numbers or self.decades < LEAST_TOGETHER:
            return tolerance.score_together
        return tolerance.number_together if self.single else tolerance.value_together


def output_signal(facts: BatchFacts) -> OutputSignal | None:
    """Return what is left of the difference between examples in the output; None: not known.

    Of several criteria, that of which most is left.
    """
    found = []
    for criterion in facts.criteria:
        output = criterion.output
        if output is None or output.example_spread is None or not output.rms:
            return None
        spread = output.example_spread
        lost = -0.5 * math.log10(spread) if spread > 0 else math.inf
        line = criterion.kind in OF_CLASSES and (output.directions or 9.0) < ONE_DIRECTION
        single = math.prod(output.shape[1:]) == 1
        found.append(OutputSignal(lost, criterion.kind in DISTANCES, line, single))
    return min(found, key=lambda signal: signal.decades, default=None)
