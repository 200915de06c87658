"""The checks of a width check. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gradflow.findings.check import Check, check, finding
from gradflow.findings.thresholds import WIDTH_POWER
from gradflow.findings.unfinished import not_done, stopped
from gradflow.findings.words import indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.width import WidthResult, WidthRow, failing


@check("interrupted")
def interrupted(result: WidthResult) -> Iterator[Finding]:
    """Ctrl-C came before all was done."""
    yield from stopped(result.facts.interrupted, "the rows show what was trained until then")


@check("broken")
def not_finite(result: WidthResult) -> Iterator[Finding]:
    """Outputs are not finite at some widths."""
    if widths := result.facts.not_finite:
        yield finding(
            "broken",
            f"outputs are not finite at width {', '.join(map(str, widths))}",
            "a smaller --lr",
        )


@check("width")
def depends(result: WidthResult) -> Iterator[Finding]:
    """Training moves layers further, or less far, the wider the network is."""
    rows, advice = failing(result.records), _advice(result)
    severity = "warning" if len(result.meta.seeds) == 1 else None
    for said, at_fault, power in (
        ("move further", _beyond(rows, "slope", 1), "slope"),
        ("move less far", _beyond(rows, "slope", -1), "slope"),
        ("are larger at the start", _beyond(rows, "start_slope", 1), "start_slope"),
        ("are smaller at the start", _shrinking(rows), "start_slope"),
    ):
        if at_fault:
            yield finding(
                "width",
                f"with {result.optimizer}, the outputs of {named_layers(at_fault)} {said} the "
                f"wider the network is: {_strongest(at_fault, power)}",
                advice,
                layers=indices(at_fault),
                severity=severity,
            )


def _beyond(rows: Sequence[WidthRow], name: str, sign: int) -> list[WidthRow]:
    """The rows whose power is beyond what is borne, on one side."""
    return [row for row in rows if sign * (getattr(row, name) or 0.0) > WIDTH_POWER]


def _shrinking(rows: Sequence[WidthRow]) -> list[WidthRow]:
    return [row for row in _beyond(rows, "start_slope", -1) if row.role != "output"]


def _strongest(rows: Sequence[WidthRow], name: str) -> str:
    """The power that is furthest from 0, with its interval."""
    value: Callable[[WidthRow], float] = lambda row: getattr(row, name) or 0.0  # noqa: E731
    worst = max(rows, key=lambda row: abs(value(row)))
    low, high = (getattr(worst, f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return f"most '{worst.name}', as width^{value(worst):.2f}{interval}"


def _advice(result: WidthResult) -> str:
    if result.facts.no_repair is not None:
        return result.facts.no_repair
    if not result.torch:
        return ""
    if result.repaired():
        return "repair(model, optimizer, width) below: so repaired, every layer passes"
    return "repair(model, optimizer, width) below is the rule; so repaired, not every layer passes"


@check("unjudged")
def failed(result: WidthResult) -> Iterator[Finding]:
    """Networks that could not be trained, and nothing that could be judged."""
    yield from not_done(result.facts.failed, "trained")
    uncertain = [row for row in result.records if row.slope is not None and row.judged is None]
    if uncertain:
        yield finding(
            "unjudged",
            f"the seeds do not agree on {named_layers(uncertain)}: "
            f"{_strongest(uncertain, 'slope')}",
            "more --seeds, or widths that are further apart",
            layers=indices(uncertain),
        )
    if not any(row.slope is not None for row in result.records):
        yield finding("unjudged", "no layer has the same name at two widths, and moves")


@check("uncovered")
def partial(result: WidthResult) -> Iterator[Finding]:
    """Layers that are not there at every width."""
    if names := result.facts.partial:
        more = "" if len(names) <= _MOST else f" and {len(names) - _MOST} more"
        yield finding(
            "uncovered",
            f"not there, by name, at every width: {', '.join(names[:_MOST])}{more}",
            "layers are compared by their names",
            severity="info",
        )


#: Names that a sentence lists.
_MOST = 6


@check("one-seed")
def one_seed(result: WidthResult) -> Iterator[Finding]:
    """Without several seeds there is no interval."""
    if len(result.meta.seeds) == 1:
        yield finding(
            "one-seed", "one seed: the powers have no interval", "--seeds 5 gives them one"
        )


CHECKS: tuple[Check[WidthResult], ...] = (
    interrupted,
    not_finite,
    depends,
    failed,
    partial,
    one_seed,
)
