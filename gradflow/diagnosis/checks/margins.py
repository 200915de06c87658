"""How far a network is from the bounds of its verdict. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gradflow.diagnosis.checks.decades import (
    bearable_fading,
    lost_around,
    seen_output,
    signal_decades,
    together,
)
from gradflow.diagnosis.checks.layers import depth, spanned
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    NEAR_DECADES,
    PLAIN,
    Tolerance,
    bearable_decades,
    tolerances,
)
from gradflow.findings.words import lost_decades
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult


@dataclass(frozen=True)
class Margin:
    """A quantity that a verdict rests on, beside what an optimizer copes with.

    Attributes
    ----------
    name
        Of the quantity, short.
    says
        What it is, in words.
    decades
        Its value.
    bound
        From what an optimizer copes with to the least value that is too large.
    """

    name: str
    says: str
    decades: float
    bound: Callable[[Tolerance], float]

    def strain(self, tolerance: Tolerance) -> float:
        """Return the value over the bound: 1 and more is too large."""
        return self.decades / self.bound(tolerance)


def margins(result: DiagnosisResult) -> Iterator[Margin]:
    """Yield every quantity in decades that the verdict on a network rests on, as far as known."""
    layers, around = depth(result), lost_around(result)
    lost = lost_decades(result.rate, layers)
    over = f"over {layers} {spanned(result)}"
    if lost is not None:
        grows = bearable_decades(layers, batch_norm=result.facts.batch_norm)
        yield Margin("δ gained", f"δ grows by {-lost:.2f} decades {over}", -lost, lambda _: grows)
        fades = lost if around is None else around
        says = f"δ shrinks by {fades:.2f} decades {over if around is None else 'to the first'}"
        yield Margin("δ lost", says, fades, bearable_fading(result))
    if around is None:
        yield from _of_examples(result)


def _of_examples(result: DiagnosisResult) -> Iterator[Margin]:
    """What the difference between examples loses, alone and with δ."""
    signal, seen, both = signal_decades(result), seen_output(result), together(result)
    if signal is not None:
        says = f"the difference between examples shrinks by {signal:.2f} decades on its way"
        yield Margin("signal", says, signal, lambda t: t.bearable_signal(result.hidden))
    if seen is None:
        return
    says = f"outputs differ between examples by 1 part in 10^{seen.decades:.2f}"
    yield Margin("output", says, seen.decades, seen.bound)
    if both is not None:
        says = f"δ and the difference between examples lose {both:.2f} decades together"
        yield Margin("together", says, both, seen.bound_together)


@check("near-threshold")
def near_threshold(result: DiagnosisResult) -> Iterator[Finding]:
    """What is just bearable: of several, what is nearest to its bound."""
    kinds, known = tolerances(result.facts.optimizer), list(margins(result))
    close = [
        (room, one, tolerance)
        for tolerance in kinds
        for one in known
        if 0 < (room := one.bound(tolerance) - one.decades) <= NEAR_DECADES
    ]
    if not close or any(one.strain(kinds[1]) >= 1 for one in known):
        return
    _, one, tolerance = min(close, key=lambda found: found[0])
    yield finding(
        "near-threshold",
        f"{one.says}: just below {one.bound(tolerance):.2f}, from where on it is too much for "
        f"{_whom(result, one, tolerance)}",
        "other random weights may be on the other side: measure a few seeds",
    )


def _whom(result: DiagnosisResult, one: Margin, tolerance: Tolerance) -> str:
    """Say which optimizer a bound is for."""
    least, most = map(one.bound, tolerances(result.facts.optimizer))
    if least == most and result.facts.optimizer is None:
        return "any optimizer"
    return "SGD" if tolerance is PLAIN else "Adam"
