"""Result of ``width``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from gradflow.results.base import Facts, Result, Row, column, rows_of

PASS, FAIL = "pass", "fail"


@dataclass(frozen=True)
class WidthRow(Row):
    """One layer: how far training moves its outputs, against the network's width.

    Attributes
    ----------
    role
        What the width does to its weight: ``input`` (only its outputs grow with the width),
        ``hidden`` (inputs and outputs), ``output`` (only its inputs), ``fixed`` (neither).
    slope
        Power of the width by which the change of the outputs grows, at the step where it is
        furthest from 0; the mean over the seeds. ``_low``, ``_high``: its 95 % interval.
    step
        That step.
    start_slope
        The same of the outputs themselves, before the first step.
    judged
        ``pass`` or ``fail``; None: not judged.
    repaired_slope, repaired_judged
        Of the repaired network.
    widths
        At how many widths the layer is there.
    """

    index: int = column("#", "d")
    name: str = column("layer", "name")
    kind: str = column("kind", priority=3)
    role: str = column("role")
    slope: float | None = column("change", ".2f")
    slope_low: float | None = column("from", ".2f", 1, default=None)
    slope_high: float | None = column("to", ".2f", 1, default=None)
    step: int | None = column("step", "d", 3, default=None)
    start_slope: float | None = column("at the start", ".2f", 3, default=None)
    start_slope_low: float | None = column("low", ".2f", None, default=None)
    start_slope_high: float | None = column("high", ".2f", None, default=None)
    judged: str | None = column("", default=None)
    repaired_slope: float | None = column("repaired", ".2f", default=None)
    repaired_slope_low: float | None = column("from", ".2f", 2, default=None)
    repaired_slope_high: float | None = column("to", ".2f", 2, default=None)
    repaired_judged: str | None = column("", default=None)
    widths: int = column("widths", "d", 3, varied=True, default=0)


@dataclass(frozen=True)
class ParameterRow(Row):
    """What keeps one parameter's part in training the same at every width.

    Attributes
    ----------
    initial_power, rate_power
        Its entries at the start, and its learning rate, are multiplied by (width / base width) to
        this power.
    initial, rate
        The multipliers at the largest width.
    """

    name: str = column("parameter")
    role: str = column("role")
    initial_power: float = column("weights by m to", "g")
    rate_power: float = column("rate by m to", "g")
    initial: float = column("weights ×", ".3g", None)
    rate: float = column("rate ×", ".3g", None)


@dataclass(frozen=True)
class CoordinateRow(Row):
    """How large a layer's outputs are, and how far they moved, after so many steps.

    ``change`` and ``output`` are root mean squares; medians over the seeds.
    """

    layer: str = column("layer")
    width: int = column("width")
    step: int = column("step")
    change: float = column("change", ".3e")
    output: float = column("output", ".3e")
    repaired: bool = column("repaired", default=False)


@dataclass(frozen=True)
class WidthFacts(Facts):
    """What was wanted of a check, and what became of it.

    Attributes
    ----------
    failed
        Networks that could not be trained, and why.
    partial
        Layers that are not there at every width.
    not_finite
        Widths at which an output is not finite.
    no_repair
        Why no multipliers are given, where a layer fails.
    """

    failed: tuple[tuple[str, str], ...] = ()
    partial: tuple[str, ...] = ()
    not_finite: tuple[int, ...] = ()
    no_repair: str | None = None


@dataclass(frozen=True, kw_only=True)
class WidthResult(Result):
    """A coordinate check: whether training moves every layer as far at every width.

    Attributes
    ----------
    verdict
        ``healthy`` where every layer passes, ``width`` where one fails.
    optimizer, lr
        What it was trained with.
    widths
        That were trained.
    parameters
        The multipliers that repair it, relative to the smallest width; none where all passes.
    torch
        The same as a function that can be run.
    coordinates
        What the slopes were fitted to.
    """

    command: ClassVar[str] = "width"
    row_type: ClassVar[type[Row]] = WidthRow

    facts: WidthFacts = field(default=WidthFacts(), repr=False, compare=False)
    verdict: str = ""
    optimizer: str = ""
    lr: float | None = None
    widths: tuple[int, ...] = ()
    parameters: tuple[ParameterRow, ...] = rows_of(ParameterRow)
    torch: str = ""
    coordinates: tuple[CoordinateRow, ...] = rows_of(CoordinateRow)

    @property
    def title(self) -> str:
        """Say whether it passes, what fails, and what the repair does."""
        judged = [row for row in self.records if row.judged is not None]
        if not judged:
            return f"{self.optimizer}: nothing could be judged"
        failing = [row for row in judged if row.judged == FAIL]
        if not failing:
            left = len(self.records) - len(judged)
            if left:
                return f"{self.optimizer}: {len(judged)} layers pass, {left} could not be judged"
            return f"{self.optimizer}: pass, all {len(judged)} layers train alike at every width"
        verb = "depends" if len(failing) == 1 else "depend"
        said = f"{self.optimizer}: fail, {len(failing)} of {len(judged)} layers {verb}"
        return f"{said} on the width{self._repair()}"

    def _repair(self) -> str:
        again = [row.repaired_judged for row in self.records if row.repaired_judged is not None]
        if not again:
            return ""
        left = again.count(FAIL)
        return f"; repaired, {left} of {len(again)} still" if left else "; repaired, all pass"

    @property
    def multipliers(self) -> tuple[ParameterRow, ...]:
        """The parameters that the repair changes."""
        return tuple(row for row in self.parameters if row.initial_power or row.rate_power)

    def repaired(self) -> bool:
        """Return whether the repaired network was tried, and every layer of it passes."""
        again = [row.repaired_judged for row in self.records if row.repaired_judged is not None]
        return bool(again) and FAIL not in again


def failing(rows: Sequence[WidthRow]) -> list[WidthRow]:
    """Return the layers that fail."""
    return [row for row in rows if row.judged == FAIL]
