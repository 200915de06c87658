"""From the points of a sweep to its summary: a row per weight variance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from gradflow.results.sweep import ColumnRow, SweepRow

#: Networks train to a depth of about so many ξ (Schoenholz et al. 2017, section 5).
TRAINABLE = 6
#: Of the test images, the share that a network tells which has learnt.
LEARNT = 0.5


def summarized(
    rows: Iterable[SweepRow], scales: dict[tuple[str, float, float], float]
) -> Iterator[ColumnRow]:
    """Yield a row per activation, width, σ_b² and σ_w², in the order in which they come.

    Parameters
    ----------
    scales
        ξ by activation, σ_b² and σ_w².
    """
    columns: dict[tuple[object, ...], list[SweepRow]] = {}
    for row in rows:
        columns.setdefault((*row.map, row.weight_variance), []).append(row)
    for column in columns.values():
        ordered = sorted(column, key=lambda row: row.depth)
        place = ordered[0].activation, ordered[0].bias_variance, ordered[0].weight_variance
        yield _column(ordered, scales.get(place))


def _column(rows: Sequence[SweepRow], scale: float | None) -> ColumnRow:
    healthy = list(takewhile(lambda row: row.verdict == "healthy", rows))
    learnt = list(takewhile(lambda row: (row.accuracy or 0.0) > LEARNT, rows))
    last = rows[-1]
    return ColumnRow(
        activation=last.activation,
        width=last.width,
        bias_variance=last.bias_variance,
        weight_variance=last.weight_variance,
        healthy_to=healthy[-1].depth if healthy else None,
        trained_to=learnt[-1].depth if learnt else None,
        trainable_to=None if scale is None else TRAINABLE * scale,
        deepest=last.depth,
        gradient_log10=last.gradient_log10,
        predicted_gradient_log10=last.predicted_gradient_log10,
        verdict=last.verdict,
    )
