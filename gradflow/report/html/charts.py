"""What is drawn for each command, as data: which rows, along what, and which numbers of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradflow.results.activations import ActivationsResult, EvalResult, PlotResult
from gradflow.results.base import Result
from gradflow.results.benchmark import BenchmarkResult, PlanResult, labels
from gradflow.results.chain import ChainResult
from gradflow.results.clipping import ClipResult
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.learning_rate import LearningRateResult
from gradflow.results.sweep import SweepResult
from gradflow.results.theory import TheoryResult
from gradflow.results.watching import WatchResult
from gradflow.results.width import WidthResult


@dataclass(frozen=True)
class Quantity:
    """A number of each row that can be chosen to be drawn.

    Attributes
    ----------
    field
        Of the row.
    label
        In words, for the list to choose from.
    kind
        ``"log10"``: the field holds a logarithm; ``"size"``: a size above 0, which has one;
        ``"share"``: from 0 to 1; ``"number"``: any other, which has no logarithm.
    low, high
        Fields of the band around it.
    beside
        Field of what is drawn dashed beside it.
    """

    field: str
    label: str
    kind: str = "log10"
    low: str = ""
    high: str = ""
    beside: str = ""


@dataclass(frozen=True)
class History:
    """The same numbers at every recorded step: rows that have a `step` and the layer's `index`.

    Attributes
    ----------
    before
        Layers of other models that are counted before the chart's.
    """

    records: Sequence[Any]
    before: int = 0


@dataclass(frozen=True)
class Chart:
    """Rows and how they are drawn.

    Attributes
    ----------
    x, x_label, x_kind
        The field along which they stand, its name, and whether that is a ``"count"``, a
        ``"number"``, one on a ``"log"`` axis, or a ``"name"``.
    series
        What each row's line is called, one for each row; empty where there is but one line.
    apart
        What keeps lines of one name apart, one for each row.
    named
        Whether rows are layers, whose names stand at the axis.
    faults
        Layers at fault.
    band, beside
        What band and dashed line are.
    linear
        Whether the axis is linear at first.
    """

    title: str
    records: Sequence[Any]
    quantities: tuple[Quantity, ...]
    x: str
    x_label: str
    x_kind: str = "count"
    series: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    named: bool = False
    faults: frozenset[int] = frozenset()
    band: str = ""
    beside: str = ""
    linear: bool = False
    history: History | None = None


@dataclass(frozen=True)
class HeatMap:
    """Points of a grid, coloured by a number; `maps` says of each row in which map it is."""

    title: str
    records: Sequence[Any]
    quantities: tuple[Quantity, ...]
    x: str
    x_label: str
    y: str
    y_label: str
    maps: tuple[str, ...] = field(default=())


_LOSSES = (
    Quantity("loss", "loss", "size"),
    Quantity("norm_before", "norm of the gradient", "size"),
    Quantity("norm_after", "norm after clipping", "size"),
    Quantity("learning_rate", "learning rate", "size"),
)
_SHARES = (
    Quantity("dead_fraction", "dead units", "share"),
    Quantity("saturated_fraction", "saturated entries", "share"),
    Quantity("zero_fraction", "activations that are 0", "share"),
)


def at_fault(findings: Sequence[Any]) -> frozenset[int]:
    """Return the layers at which there is an error."""
    return frozenset(i for f in findings if f.severity == "error" for i in f.layers)


def _diagnosis(result: DiagnosisResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity(
            "delta_log10_rms",
            "δ = ∂C/∂z, root mean square",
            low="delta_log10_rms_low",
            high="delta_log10_rms_high",
            beside="predicted_delta_log10_rms",
        ),
        Quantity("gradient_log10_norm", "gradient ‖∂C/∂W‖"),
        Quantity(
            "bias_gradient_norm",
            "bias gradient ‖∂C/∂b‖",
            "size",
            low="bias_gradient_norm_low",
            high="bias_gradient_norm_high",
        ),
        Quantity("activation_log10_rms", "activation, root mean square"),
        Quantity("activation_mean", "activation, mean", "number"),
        Quantity("update_ratio", "update ‖Δw‖ / ‖w‖", "size"),
        *_SHARES,
        Quantity("example_spread", "difference between examples", "share"),
    )
    return (
        Chart(
            "Layer by layer",
            result.records,
            quantities,
            "index",
            "layer (the gradient flows from right to left)",
            named=True,
            faults=at_fault(result.findings),
            band=f"5 to 95 % of {len(result.meta.seeds)} seeds",
            beside="theory of wide networks",
        ),
    )


def of_models(result: WatchResult) -> Iterator[tuple[Chart, ...]]:
    """Yield the charts of each of the models that a program trained."""
    before = 0
    for model in result.models:
        own = range(before + 1, before + len(model.rows) + 1)
        rows = [row for row in result.history if row.index in own]
        history = History(rows, before) if rows else None
        yield _watched(model.rows, model.steps, model.findings, history)
        before += len(model.rows)


def _watch(result: WatchResult) -> tuple[Chart, ...]:
    if len(result.models) > 1:
        return ()  # each has its own
    history = History(result.history) if result.history else None
    return _watched(result.records, result.steps, result.findings, history)


def _watched(
    rows: Sequence[Any], steps: Sequence[Any], findings: Sequence[Any], history: History | None
) -> tuple[Chart, ...]:
    layers = Chart(
        "Layer by layer",
        rows,
        (
            Quantity("gradient_log10_norm", "gradient ‖∂C/∂W‖"),
            Quantity("delta_log10_rms", "δ = ∂C/∂z, root mean square"),
            Quantity("activation_rms", "activation, root mean square", "size"),
            Quantity("activation_mean", "activation, mean", "number"),
            Quantity("update_ratio", "update ‖Δw‖ / ‖w‖", "size"),
            Quantity("weight_norm", "weights ‖w‖", "size"),
            *_SHARES,
        ),
        "index",
        "layer (the gradient flows from right to left)",
        named=True,
        faults=at_fault(findings),
        beside="median of all recorded steps",
        history=history,
    )
    return layers, Chart("Step by step", steps, _LOSSES, "step", "step")


def _sweep(result: SweepResult) -> tuple[HeatMap, ...]:
    quantities = (
        Quantity("gradient_log10", "log₁₀ of δ in the first layer over the last"),
        Quantity("predicted_gradient_log10", "the same by theory"),
    )
    maps = tuple(
        f"{r.activation}, width {r.width}, σ_b² {r.bias_variance:g}" for r in result.records
    )
    given = (
        result.records,
        quantities,
        "weight_variance",
        "variance of the weights, σ_w²",
        "depth",
        "depth",
    )
    return (HeatMap("Depth and variance", *given, maps if len(set(maps)) > 1 else ()),)


def _theory(result: TheoryResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity("gradient_log10", "δ, relative to the last layer's"),
        Quantity("q", "q, the mean square of z", "size"),
        Quantity("chi", "χ, by which δ² grows per layer back", "size"),
    )
    return (Chart("Layer by layer", result.records, quantities, "layer", "layer"),)


def _chain(result: ChainResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity("product_log10", "product so far, its size"),
        Quantity("value", "factor", "number"),
    )
    return (Chart("Factor by factor", result.records, quantities, "index", "factor"),)


def _curves(result: PlotResult | EvalResult) -> tuple[Chart, ...]:
    value, slope = Quantity("value", "f(x)", "number"), Quantity("derivative", "f′(x)", "number")
    only = isinstance(result, PlotResult) and result.derivative_only
    quantities = (slope,) if only else (value, slope)
    names = tuple(getattr(row, "activation", "") for row in result.records)
    names = names if any(names) else ()
    return (Chart("Curves", result.records, quantities, "x", "x", "number", names, linear=True),)


def _activations(result: ActivationsResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity("max_slope", "largest slope", "number"),
        Quantity("critical_gain", "critical gain", "number"),
        Quantity("relative_cost", "cost over ReLU's", "number"),
    )
    return (Chart("One by one", result.records, quantities, "name", "activation", "name"),)


def _clip(result: ClipResult) -> tuple[Chart, ...]:
    policies = Chart(
        "Policy by policy",
        result.records,
        (
            Quantity("final_loss", "final loss", "size", "final_loss_low", "final_loss_high"),
            Quantity("norm_after", "norm of the first gradient, clipped", "size"),
            Quantity("clipped_fraction", "entries cut", "share"),
            Quantity("engaged_fraction", "steps cut", "share"),
        ),
        "policy",
        "policy",
        "name",
        band="lowest to highest of the seeds",
    )
    names = tuple(row.policy for row in result.history)
    steps = Chart("Step by step", result.history, _LOSSES[:3], "step", "step", series=names)
    return policies, steps


def _rates(result: LearningRateResult) -> tuple[Chart, ...]:
    losses = (Quantity("loss", "loss after the step", "size", "loss_low", "loss_high"),)
    return (
        Chart(
            "Range test",
            result.records,
            losses,
            "rate",
            "learning rate",
            "log",
            band="lowest to highest of the seeds",
        ),
    )


def _benchmark(result: BenchmarkResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity("test_accuracy", "test accuracy", "share"),
        Quantity("train_accuracy", "training accuracy", "share"),
        Quantity("test_loss", "test loss", "size"),
        Quantity("train_loss", "training loss", "size"),
        Quantity("gradient_norm", "norm of the gradient", "size"),
    )
    words = labels(result.history)
    names = tuple(words[row.setting] for row in result.history)
    seeds = tuple(f"{name} {row.seed}" for name, row in zip(names, result.history, strict=True))
    return (
        Chart(
            "Epoch by epoch", result.history, quantities, "epoch", "epoch", "count", names, seeds
        ),
    )


def _plan(result: PlanResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity("seconds", "seconds", "number"),
        Quantity("images_per_second", "images per second", "number"),
    )
    return (Chart("One by one", result.records, quantities, "activation", "activation", "name"),)


def _widths(result: WidthResult) -> tuple[Chart, ...]:
    quantities = (
        Quantity("change", "how far training moves the outputs, root mean square", "size"),
        Quantity("output", "outputs, root mean square", "size"),
    )
    found = []
    for title, repaired in (("As it is", False), ("Repaired", True)):
        points = [p for p in result.coordinates if p.repaired is repaired and p.step > 0]
        steps = tuple(f"{p.layer} {p.step}" for p in points)
        layers = tuple(p.layer for p in points)
        found.append(Chart(title, points, quantities, "width", "width", "log", layers, steps))
    return tuple(found)


#: What is drawn for a command; a new one is one entry. What is not here has no chart.
CHARTS: dict[str, Callable[[Any], tuple[Chart | HeatMap, ...]]] = {
    "activations": _activations,
    "benchmark": _benchmark,
    "benchmark-plan": _plan,
    "chain": _chain,
    "clip": _clip,
    "diagnose": _diagnosis,
    "eval": _curves,
    "lr": _rates,
    "plot": _curves,
    "sweep": _sweep,
    "theory": _theory,
    "watch": _watch,
    "width": _widths,
}


def charts(result: Result) -> tuple[Chart | HeatMap, ...]:
    """Return what is drawn for `result`."""
    make = CHARTS.get(result.command)
    return make(result) if make else ()
