"""A result as a chart of characters, for a terminal."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradflow.results.activations import PlotResult
from gradflow.results.base import Result
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.learning_rate import LearningRateResult
from gradflow.results.sweep import SweepResult
from gradflow.results.theory import TheoryResult
from gradflow.results.watching import WatchResult

if TYPE_CHECKING:
    import plotille

#: Columns beside the drawing: the axis and the last label beneath it.
_BESIDE = 23
_ROWS, _WIDEST = 12, 70
#: Lines that can be told apart where there are no colours.
_MOST = 6
#: Beyond it the distance of two numbers may be none.
_LARGEST = 1e300
_ROUNDING = 1e-9
#: A braille sign without a dot.
_BLANK = "\u2800"

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points that belong together; None where there is a gap.

    Attributes
    ----------
    name
        Written at the last point; empty: not at all.
    dotted
        Whether the points stand alone.
    """

    points: tuple[Point | None, ...]
    name: str = ""
    dotted: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over one axis; the title says what they are."""

    title: str
    axis: str
    series: tuple[Series, ...]


def chart(result: Result, columns: int) -> str | None:
    """Return `result` drawn in so many columns.

    None where there is nothing to draw, no room for it, or no plotille to draw with.
    """
    if result.command not in CHARTS or importlib.util.find_spec("plotille") is None:
        return None
    found = CHARTS[result.command](result)
    width = min((columns - _BESIDE) // 10 * 10, _WIDEST)
    if width < 10 or not _can_be_drawn(found):
        return None
    return "\n".join([found.title, *_drawn(found, width)])


def _can_be_drawn(found: Chart) -> bool:
    points = [list(_finite(series)) for series in found.series]
    sizes = [abs(number) for series in points for point in series for number in point]
    return any(len(series) > 1 for series in points) and max(sizes) < _LARGEST


def _drawn(found: Chart, width: int) -> Iterator[str]:
    """Yield the lines of a drawing so wide."""
    import plotille

    low, high = _across([x for series in found.series for x, _ in _finite(series)], width // 10)
    bottom, step, rows = _ruled(y for series in found.series for _, y in _finite(series))
    figure = plotille.Figure()
    figure.width, figure.height = width, rows
    figure.with_colors = figure.origin = False
    figure.x_label, figure.y_label = found.axis, ""
    figure.register_label_formatter(float, _label)
    figure.set_x_limits(low, high)
    figure.set_y_limits(bottom, bottom + rows * step)
    for series in found.series:
        _draw(figure, series, width)
    for row, name in _names(found, bottom, step, width):
        x = high - len(name) * (high - low) / width
        figure.text([x], [bottom + (row + 0.5) * step], [name])
    lines = figure.show().splitlines()
    yield from (line.rstrip(f"{_BLANK} ") for line in lines[1:])


def _names(found: Chart, bottom: float, step: float, width: int) -> Iterator[tuple[int, str]]:
    """Yield the rows of the lines' last points, each with the names of those that end there."""
    rows: dict[int, list[str]] = {}
    for series in found.series:
        points = list(_finite(series))
        if series.name and points:
            rows.setdefault(int((points[-1][1] - bottom) / step + _ROUNDING), []).append(
                series.name
            )
    for row, names in rows.items():
        yield row, ", ".join(names)[:width]


def _draw(figure: plotille.Figure, series: Series, width: int) -> None:
    if series.dotted:
        points = list(_finite(series))
        some = points[:: max(1, len(points) // width)]
        figure.scatter([x for x, _ in some], [y for _, y in some])
        return
    for stretch in _stretches(series.points):
        figure.plot([x for x, _ in stretch], [y for _, y in stretch])


def _label(value: float, chars: int, delta: Any, left: bool = False) -> str:
    text = f"{0.0 if abs(value) < _ROUNDING * abs(delta) else value:.3g}"
    return text.ljust(chars) if left else text.rjust(chars)


def _limits(values: Iterable[float]) -> tuple[float, float]:
    """The least and the largest; where they are one, a little to both sides."""
    found = list(values)
    low, high = min(found), max(found)
    room = 0.0 if high - low > _ROUNDING * max(-low, high) else max(1.0, 0.1 * abs(low))
    return low - room, high + room


def _across(values: Sequence[float], parts: int) -> tuple[float, float]:
    """Limits around the values; where these are many whole numbers, such that each part is one."""
    low, high = _limits(values)
    if high - low < 2 * parts or not all(value.is_integer() for value in values):
        return low, high
    return low, low + parts * math.ceil((high - low) / parts)


def _ruled(values: Iterable[float]) -> tuple[float, float, int]:
    """Return where to begin, and how many rows of what height, so that each has a short number."""
    low, high = _limits(values)
    step = _short((high - low) / (_ROWS - 1))
    bottom = math.floor(low / step + _ROUNDING) * step
    return bottom, step, max(2, math.floor((high - bottom) / step + _ROUNDING) + 1)


def _short(least: float) -> float:
    """The smallest of 1, 2, 5, 10, … and their tenths that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(
        power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - _ROUNDING)
    )


def _finite(series: Series) -> Iterator[Point]:
    return (point for point in series.points if point is not None)


def _stretches(points: Sequence[Point | None]) -> Iterator[list[Point]]:
    """Yield the points between gaps."""
    stretch: list[Point] = []
    for point in points:
        if point is not None:
            stretch.append(point)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _points(rows: Iterable[Any], x: str, y: str) -> tuple[Point | None, ...]:
    """Return two fields of rows as points; what is missing or not finite is a gap."""
    pairs = ((getattr(row, x), getattr(row, y)) for row in rows)
    return tuple(
        (float(a), float(b))
        if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
        else None
        for a, b in pairs
    )


def _curves(result: PlotResult) -> Chart:
    """Of one activation f and f′; of several their slopes."""
    names = [curve.activation for curve in result.curves]
    of = {name: [row for row in result.records if row.activation == name] for name in names}
    if len(names) == 1 and not result.derivative_only:
        (name,) = names
        slopes = Series(_points(of[name], "x", "derivative"), dotted=True)
        series = (Series(_points(of[name], "x", "value")), slopes)
        return Chart(f"{name}: f(x), and f′(x) in dots", "x", series)
    several = tuple(Series(_points(of[name], "x", "derivative"), name) for name in names[:_MOST])
    more = f" of the first {_MOST}" if len(names) > _MOST else ""
    return Chart(f"f′(x){more}", "x", several)


def _layers(result: DiagnosisResult) -> Chart:
    """δ at each layer and what theory says of it; gradients where δ was not read."""
    measured = _points(result.records, "index", "delta_log10_rms")
    if not any(measured):
        gradients = _points(result.records, "index", "gradient_log10_norm")
        return Chart("log₁₀ of the gradient's norm by layer", "layer", (Series(gradients),))
    predicted = _points(result.records, "index", "predicted_delta_log10_rms")
    beside = ", and predicted in dots" if any(predicted) else ""
    series = (Series(measured), Series(predicted, dotted=True))
    return Chart(f"log₁₀ of δ by layer{beside}", "layer", series)


def _steps(result: WatchResult) -> Chart:
    """The loss by step, or the gradient's norm where no loss was seen."""
    of = f" of {result.models[0].name}" if len(result.models) > 1 else ""
    losses = _points(result.steps, "step", "loss")
    if any(losses):
        return Chart(f"loss{of} by step", "step", (Series(losses),))
    norms = _points(result.steps, "step", "norm_before")
    return Chart(f"the gradient's norm{of} by step", "step", (Series(norms),))


def _depths(result: TheoryResult) -> Chart:
    points = _points(result.records, "layer", "gradient_log10")
    return Chart("log₁₀ of δ by layer, as predicted", "layer", (Series(points),))


def _rates(result: LearningRateResult) -> Chart:
    points = tuple(
        None if point is None or point[0] <= 0 else (math.log10(point[0]), point[1])
        for point in _points(result.records, "rate", "loss")
    )
    return Chart("loss by log₁₀ of the learning rate", "log₁₀ rate", (Series(points),))


def _variances(result: SweepResult) -> Chart:
    """The gradients of the first activation and width, a line for each depth."""
    first = result.records[0] if result.records else None
    rows = [
        row
        for row in result.records
        if first is not None
        and (row.activation, row.width, row.bias_variance)
        == (first.activation, first.width, first.bias_variance)
    ]
    depths = sorted({row.depth for row in rows})[:_MOST]
    series = tuple(
        Series(
            _points([r for r in rows if r.depth == depth], "weight_variance", "gradient_log10"),
            f"depth {depth}",
        )
        for depth in depths
    )
    name = "" if first is None else f"{first.activation}: "
    return Chart(f"{name}log₁₀ of the gradient by σ_w²", "σ_w²", series)


#: command -> what is drawn of its result. A new chart is one entry.
CHARTS: dict[str, Callable[[Any], Chart]] = {
    "diagnose": _layers,
    "lr": _rates,
    "plot": _curves,
    "sweep": _variances,
    "theory": _depths,
    "watch": _steps,
}
