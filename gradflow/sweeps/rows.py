"""From the points of a sweep to its summary: a row per weight variance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from gradflow.results.sweep import ColumnRow, ScaleRow, SweepRow

#: Of the test images, the share that a network tells which has learnt.
LEARNT = 0.5


def summarized(rows: Iterable[SweepRow], scales: Iterable[ScaleRow]) -> Iterator[ColumnRow]:
    """Yield a row per activation, width, σ_b² and σ_w², in the order in which they come.

    Parameters
    ----------
    scales
        ξ at every σ_w² of the rows.
    """
    depths = {(s.activation, s.bias_variance, s.weight_variance): s.trainable_to for s in scales}
    columns: dict[tuple[object, ...], list[SweepRow]] = {}
    for row in rows:
        columns.setdefault((*row.map, row.weight_variance), []).append(row)
    for column in columns.values():
        ordered = sorted(column, key=lambda row: row.depth)
        first = ordered[0]
        place = first.activation, first.bias_variance, first.weight_variance
        yield _column(ordered, depths[place])


def _column(rows: Sequence[SweepRow], trainable_to: float) -> ColumnRow:
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
        trainable_to=trainable_to,
        deepest=last.depth,
        gradient_log10=last.gradient_log10,
        predicted_gradient_log10=last.predicted_gradient_log10,
        verdict=last.verdict,
    )
