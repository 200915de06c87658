"""The checks of a range test. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.findings.check import Check, check, finding
from gradflow.findings.first_rate import factor
from gradflow.findings.thresholds import FAR_ABOVE_ADAM, FAR_BELOW_ADAM, FAR_RATE, PLAIN
from gradflow.results.base import Finding
from gradflow.results.learning_rate import LearningRateResult


@check("step-size")
def far_off(result: LearningRateResult) -> Iterator[Finding]:
    """The rate in use is far from the one that was found.

    A program's own was chosen with care more often than one that is named to be judged.
    """
    if _vanishes(result):  # a rate for the last layers alone
        return
    used, right, program = result.in_use, result.suggested, "script" in result.meta.config
    above, below = (FAR_ABOVE_ADAM, FAR_BELOW_ADAM) if program else (FAR_RATE, FAR_RATE)
    if used is None or right is None or 1 / below < used / right < above:
        return
    yield finding(
        "step-size",
        f"a learning rate of {used:.2g} is {factor(used, right)} the {right:.2g} that suits "
        f"{result.optimizer} here",
        f"a learning rate near {right:.1g}" if program else f"--lr {right:.1g}",
    )


@check("diverged")
def unstable(result: LearningRateResult) -> Iterator[Finding]:
    """Not even the smallest rate of the test lowered the loss."""
    if result.records and result.largest_stable is None:
        yield finding(
            "diverged",
            "the loss rose above its start at the smallest rate tried",
            "gradflow diagnose says what is wrong with the network",
            severity="warning",
        )


@check("vanishing")
def vanishing(result: LearningRateResult) -> Iterator[Finding]:
    """The rate that was found is one for the last layers: the first ones hardly have a gradient."""
    if _vanishes(result):
        yield finding(
            "vanishing",
            f"the gradient of half of the weight matrices lies {result.lost_decades:.1f} decades "
            "below the largest, each beside its weights: no learning rate evens that out",
            "gradflow diagnose, of the same network, says what does",
            severity="warning",
        )


def _vanishes(result: LearningRateResult) -> bool:
    return (result.lost_decades or 0.0) >= PLAIN.decades


CHECKS: tuple[Check[LearningRateResult], ...] = (unstable, vanishing, far_off)
