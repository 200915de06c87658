"""Results as the commands make them, by hand: no torch, and every number known."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradflow.activations import ACTIVATIONS
from gradflow.report import figures
from gradflow.results.activations import (
    ActivationRow,
    ActivationsResult,
    CurveInfoRow,
    CurveRow,
    EvalResult,
    EvalRow,
    PlotResult,
)
from gradflow.results.base import Finding, Result, RunMeta
from gradflow.results.benchmark import (
    BenchmarkResult,
    BenchmarkRow,
    FlowRow,
    HistoryRow,
    PlanResult,
    PlanRow,
    Setting,
)
from gradflow.results.chain import ChainResult, FactorRow
from gradflow.results.clipping import (
    ClippedLayerRow,
    ClipResult,
    DistributionRow,
    NormsRow,
    PolicyRow,
    StepRow,
    TimeStepRow,
)
from gradflow.results.diagnosis import DiagnosisResult, LayerRow
from gradflow.results.learning_rate import LearningRateResult, RateRow
from gradflow.results.sweep import EdgeOfChaosRow, ScaleRow, SweepResult, SweepRow
from gradflow.results.theory import EdgeRow, TheoryResult, TheoryRow
from gradflow.results.watching import WatchHistoryRow, WatchResult, WatchRow, WatchStepRow
from gradflow.results.width import CoordinateRow, WidthResult, WidthRow

INF, NAN = math.inf, math.nan


def ranged(*losses: float) -> LearningRateResult:
    """A range test from a loss of 2, over two seeds."""
    rows = [
        RateRow(i + 1, 10.0 ** (i - 4), loss, loss - 0.1, loss + 0.1, 2)
        for i, loss in enumerate(losses)
    ]
    return LearningRateResult(
        records=tuple(rows),
        optimizer="adam",
        start=2.0,
        suggested=1e-3,
        suggested_low=5e-4,
        suggested_high=2e-3,
        largest_stable=1e-2,
        in_use=0.1,
        meta=RunMeta(seeds=(0, 1)),
    )


def widened(layers: int, powers: tuple[float, ...] = (1.0, 0.0)) -> WidthResult:
    """Layers that move as a power of the width: as they are, and repaired."""
    names, widths = [f"hidden{n}" for n in range(1, layers + 1)], (64, 128, 256)
    rows = [
        WidthRow(n, name, "Linear", "hidden", slope=powers[0], judged="fail", widths=3)
        for n, name in enumerate(names, start=1)
    ]
    points = [
        CoordinateRow(name, width, step, step * 1e-3 * width**power, 1.0, number > 0)
        for number, power in enumerate(powers)
        for name in names
        for width in widths
        for step in (0, 1, 2)
    ]
    return WidthResult(
        records=tuple(rows), optimizer="adam", widths=widths, coordinates=tuple(points)
    )


def swept(
    depths: tuple[int, ...] = (5, 10, 20),
    weights: tuple[float, ...] = (0.5, 1.5, 3.0),
    biases: tuple[float, ...] = (0.0,),
    gradient: float | None = None,
    scale: float = 3.0,
) -> SweepResult:
    """A map whose gradients grow with σ_w²; vanishing, healthy and exploding."""
    verdicts = ("vanishing", "healthy", "exploding", "dead", "broken")
    rows = [
        SweepRow(
            "tanh",
            64,
            bias,
            depth,
            weight,
            depth * (weight - 1.5) if gradient is None else gradient,
            None,
            verdicts[place % 5],
        )
        for bias in biases
        for depth in depths
        for place, weight in enumerate(weights)
    ]
    curve = [ScaleRow("tanh", bias, weight, scale) for bias in biases for weight in weights]
    edges = [EdgeOfChaosRow("tanh", bias, 1.5) for bias in biases]
    return SweepResult(records=tuple(rows), scales=tuple(curve), edges=tuple(edges))


def plot(*names: str, **options: bool) -> PlotResult:
    """ReLU's curve under every name: a kink at 0, saturated to its left."""
    x = np.linspace(-2, 2, 41)
    rows = [CurveRow(name, v, max(0.0, v), float(v > 0)) for name in names for v in x.tolist()]
    infos = [CurveInfoRow(name, "max(0, x)", {}, 1.0, (0.0,), ((-2.0, 0.0),)) for name in names]
    return PlotResult(records=tuple(rows), curves=tuple(infos), **options)


def evaluated(*points: tuple[float, float, float]) -> EvalResult:
    return EvalResult(
        records=tuple(EvalRow(*p) for p in points), activation="relu", kinks=(0.0,), parameters={}
    )


def catalogue(cost: float | None = None) -> ActivationsResult:
    def row(name: str, slope: float, gain: float | None) -> ActivationRow:
        return ActivationRow(name, (), "f", "g", {}, "R", slope, True, gain, cost)

    return ActivationsResult(
        records=(row("sigmoid", 0.25, 10.1), row("relu", 1.0, 1.41), row("gelu", 1.13, None))
    )


def chained(*values: float) -> ChainResult:
    with np.errstate(divide="ignore"):
        logs = np.cumsum(np.log10(np.abs(values)))
    products = np.cumprod(values)
    rows = [
        FactorRow(i + 1, f"w{i}", v, float(p), float(log))
        for i, (v, p, log) in enumerate(zip(values, products, logs, strict=True))
    ]
    last = rows[-1]
    return ChainResult(
        records=tuple(rows), gradient=last.product, gradient_log10=last.product_log10
    )


def layer(index: int, delta: float | None, **fields: float | None) -> LayerRow:
    given = {
        "activation_mean": 0.5,
        "activation_variance": 0.04,
        "zero_fraction": 0.5,
        "dead_fraction": 0.1,
        "saturated_fraction": 0.2,
        "update_ratio": 1e-3,
        **fields,
    }
    theory = given.pop("predicted", None)
    return LayerRow(
        index,
        f"hidden{index}",
        "Linear",
        1.0,
        0.0,
        1.0,
        1.0,
        1.0,
        1.0,
        delta,
        theory,
        **given,  # type: ignore[arg-type]
    )


def diagnosed(*deltas: float | None, **fields: float | None) -> DiagnosisResult:
    rows = tuple(layer(i, delta, **fields) for i, delta in enumerate(deltas, start=1))
    return DiagnosisResult(
        records=rows,
        verdict="vanishing",
        rate=0.14,
        hidden=len(rows) - 1,
        findings=(Finding("vanishing", "error", (1, 2), "δ shrinks", "other weights"),),
        meta=RunMeta(seeds=(0, 1, 2)),
    )


def clipped(steps: int = 20, last: float = 1.0) -> ClipResult:
    shares = {"none": (0.1, 0.9), "value": (0.5, 0.5), "norm": (0.1, 0.9)}
    cosines = {"none": 1.0, "value": 0.5, "norm": 1.0}
    return ClipResult(
        records=tuple(PolicyRow(p, 0.5, 9e6, 0.5, cosine, 0.1) for p, cosine in cosines.items()),
        layers=tuple(
            ClippedLayerRow(p, i, f"hidden{i}.linear", 1.0, share, 1.0, 0.1)
            for p, pair in shares.items()
            for i, share in enumerate(pair, start=1)
        ),
        history=tuple(
            StepRow(p, i, last if i == steps else 2.0 + i, 5.0, 0.5)
            for p in shares
            for i in range(1, steps + 1)
        ),
    )


def clipped_sequence() -> ClipResult:
    """Three seeds on a sequence task: 'none' diverges at step 15, the others do not."""
    plain = clipped()
    rows = [
        replace(
            row,
            final_loss=INF if row.policy == "none" else 0.2,
            diverged=row.policy == "none",
            outcome="diverges" if row.policy == "none" else "trains",
            engaged_fraction=0.3,
            seeds=3,
        )
        for row in plain.records
    ]
    history = [
        StepRow(
            row.policy,
            row.step,
            10.0 ** (2 * row.step) if row.policy == "none" else row.loss,
            5.0,
            0.5,
            row.loss / 2,
            row.loss * 2,
            1.0,
            9.0,
            3,
        )
        for row in plain.history
        if row.policy != "none" or row.step < 15
    ]
    flow = tuple(TimeStepRow(step, -0.5 * (30 - step)) for step in range(1, 31))
    return replace(
        plain,
        records=tuple(rows),
        history=tuple(history),
        flow=flow,
        chance=0.5,
        steps=20,
        task="adding",
    )


def clip_suggested(best: float | None = 2.0, unclipped: float = 1.0) -> ClipResult:
    """Thresholds 1, 2 and 4 tried; norms from 0.1 to 1000, as many in every class."""
    raw = PolicyRow("none", None, 5.0, 5.0, 1.0, 0.0, unclipped, unclipped == INF, 0.0, "trains")
    tried = [
        PolicyRow(
            f"norm:{t:g}",
            t,
            5.0,
            t,
            1.0,
            1.0,
            0.1 if t == best else 0.5,
            False,
            0.6 / t,
            "trains",
            proposal="median",
            final_loss_low=0.05,
            final_loss_high=0.9,
        )
        for t in (1.0, 2.0, 4.0)
    ]
    norms = tuple(NormsRow(10.0**k, 10.0 ** (k + 1), 7) for k in range(-1, 3))
    spread = DistributionRow(28, 200.0, 10.0, 900.0, 999.0, 1000.0, 0.9, True)
    return ClipResult(
        records=(raw, *tried), norms=norms, distribution=(spread,), suggested=best, steps=20
    )


def theorized(*log10: float, edge: bool = True) -> TheoryResult:
    points = [EdgeRow(b, 1 + b) for b in np.linspace(0, 1, 30).tolist()] if edge else []
    rows = [TheoryRow(i, 1.0, 0.8, 1.0, g) for i, g in enumerate(log10, start=1)]
    return TheoryResult(
        records=tuple(rows),
        activation="tanh",
        weight_variance=0.7,
        chi_fixed_point=0.8,
        regime="ordered",
        edge=tuple(points),
    )


def trained(epochs: int, loss: float = 0.1, activations: int = 6) -> BenchmarkResult:
    """Accuracies of 97 % and above, 0.2 % apart between two seeds; the first learns nothing."""
    names = list(ACTIVATIONS)[:activations]
    history = [
        HistoryRow(
            activation=n,
            seed=seed,
            epoch=e,
            train_loss=loss,
            train_accuracy=0.9,
            test_loss=loss,
            test_accuracy=0.1 if i == 0 else 0.97 + i / 1e3 + seed / 500,
            gradient_norm=1,
            seconds=1,
        )
        for i, n in enumerate(names)
        for seed in (0, 1)
        for e in range(1, epochs + 1)
    ]
    records = [
        BenchmarkRow(
            activation=n,
            seeds=2,
            test_accuracy=0.97,
            test_loss=loss,
            best_epoch=1,
            seconds=1.0,
            images_per_second=1.0,
        )
        for n in names
    ]
    return BenchmarkResult(records=tuple(records), history=tuple(history), test_size=10000)


def flowing(epochs: int, *settings: Setting) -> BenchmarkResult:
    """Return `trained` with the flow of four layers, the norm a tenth per layer backwards."""
    rows = [
        FlowRow(
            **vars(setting),
            seed=seed,
            epoch=epoch,
            index=i,
            name=f"layer {i}",
            gradient_norm=10.0 ** (i - 4 + seed),
            update_ratio=1e-3 * epoch,
            activation_variance=None if i == 4 else 10.0**-i,
            dead_fraction=None if i == 4 else 0.1 * i,
            saturated_fraction=None,
        )
        for setting in settings
        for seed in (0, 1)
        for epoch in range(1, epochs + 1)
        for i in range(1, 5)
    ]
    history = [
        replace(trained(epochs).history[0], **vars(setting), epoch=epoch, test_accuracy=0.9)
        for setting in settings
        for epoch in range(1, epochs + 1)
    ]
    return BenchmarkResult(history=tuple(history), flow=tuple(rows), test_size=10000)


def planned() -> tuple[PlanRow, ...]:
    return tuple(
        PlanRow(
            activation=name,
            runs=2,
            epochs=3,
            steps=100,
            seconds_per_step=0.1,
            images_per_second=1280,
            seconds=200.0 + 100 * i,
        )
        for i, name in enumerate(("relu", "elu"))
    )


def watched(steps: int, clip: float = 0.5) -> WatchResult:
    """Four layers over some steps, a tenth of the gradient per layer back, half of it clipped."""
    rows = [
        WatchRow(
            index=i,
            name=f"layer {i}",
            kind="Linear",
            gradient_log10_norm=i - 4.0,
            gradient_log10_first=i - 4.0,
            gradient_log10_last=i - 4.0,
            update_ratio=1e-3,
            weight_norm=1.0,
            delta_log10_rms=i - 5.0,
            dead_fraction=0.0,
            zero_fraction=0.5,
            activation_mean=0.1,
            activation_rms=1.0,
        )
        for i in range(1, 5)
    ]
    history = [
        WatchHistoryRow(step, i, i - 4.0, i - 4.3, 1e-3, 1.0, i - 5.0, 0.0, 0.5, 0.1, 1.0)
        for step in range(1, steps + 1)
        for i in range(1, 5)
    ]
    norms = tuple(WatchStepRow(step, 1.0, clip, True) for step in range(1, steps + 1))
    return WatchResult(
        records=tuple(rows),
        history=tuple(history),
        steps=norms,
        rate=0.1,
        verdict="vanishing",
        seen=steps,
        clip_rate=1.0,
        clip_factor=clip,
    )


#: Of a block of a transformer, and how far each lies below the others in powers of ten.
ROLES = {"attn.q_proj": 1.5, "attn.k_proj": 1.2, "attn.out_proj": 0.0, "mlp.fc1": 0.3}


def transformer(blocks: int) -> list[str]:
    inside = [f"model.layers.{i}.{role}" for i in range(blocks) for role in ROLES]
    return ["embed", *inside, "head"]


def long_names(count: int) -> list[str]:
    return [f"a_block_with_a_long_name.{i}.{'feed_forward_' * 5}projection" for i in range(count)]


def named_diagnosis(names: list[str], **fields: float | None) -> DiagnosisResult:
    """δ rises by six decades over the layers; a role lies below the others."""
    below = [ROLES.get(".".join(name.split(".")[3:]), 0.0) for name in names]
    rises = np.linspace(-6, 0, len(names)) - below
    result = diagnosed(*rises.tolist(), **fields)
    rows = zip(result.records, names, strict=True)
    return replace(result, records=tuple(replace(row, name=name) for row, name in rows))


def named_watch(names: list[str], steps: int = 4) -> WatchResult:
    """Each layer's gradient is its number times a thousandth, in powers of ten; layer 3 is dead."""
    base = watched(steps)
    row, met = base.records[0], base.history[0]
    rows = [
        replace(row, index=i, name=name, dead_fraction=float(i == 3))
        for i, name in enumerate(names, start=1)
    ]
    history = [
        replace(met, step=step, index=row.index, gradient_log10_norm=row.index / 1e3)
        for step in range(1, steps + 1)
        for row in rows
    ]
    return replace(base, records=tuple(rows), history=tuple(history))


EXAMPLES: dict[str, Result] = {
    "plot": plot("relu"),
    "plot overlaid": plot("relu", "tanh", "gelu"),
    "plot crowded": plot(*ACTIVATIONS),
    "plot slopes": plot("relu", "elu", derivative_only=True),
    "plot grid": plot(*ACTIVATIONS, grid=True),
    "eval": evaluated((-1, 0, 0), (2, 2, 1), (1, 1, 1), (1, 1, 1)),
    "activations": catalogue(),
    "activations with cost": catalogue(2.0),
    "chain": chained(0.25, -0.5, 0.1, 1.0),
    "chain long": chained(*[0.25] * 101),
    "diagnose": diagnosed(-9, -6, -3, -0.5, predicted=-2.0),
    "clip": clipped(),
    "clip at once": clipped(steps=0),
    "clip sequence": clipped_sequence(),
    "clip suggested": clip_suggested(),
    "lr": ranged(2.0, 1.5, 1.0, 4.0, INF),
    "sweep": swept(),
    "sweep two maps": swept(biases=(0.0, 0.1)),
    "theory": theorized(-2, -1, 0),
    "width": widened(3),
    "width many layers": widened(20, (1.0,)),
    "benchmark": trained(5),
    "benchmark crowded": trained(5, activations=20),
    "benchmark once": trained(1),
    "benchmark flow": flowing(3, Setting(), Setting(activation="elu")),
    "benchmark flow once": flowing(1, Setting()),
    "watch": watched(12),
    "watch roles": named_watch(transformer(50)),
    "watch few roles": named_watch(transformer(4)),
    "watch long names": named_watch(long_names(300)),
    "diagnose roles": named_diagnosis(transformer(50)),
    "diagnose long names": named_diagnosis(long_names(300)),
    "diagnose ten long names": named_diagnosis(long_names(10)),
    "plan": PlanResult(records=planned(), runs=4, workers=2, seconds=250.0),
    "benchmark grid": flowing(2, *(Setting(lr=10.0**-k, clip="norm 1") for k in range(8))),
}
AWKWARD: dict[str, Result] = {
    "plot beyond doubles": replace(
        plot("relu"), records=tuple(CurveRow("relu", v, v * 1e200, INF) for v in (-1e308, 1e308))
    ),
    "eval one point": evaluated((1, 1, 1)),
    "eval not finite": evaluated((NAN, NAN, NAN), (INF, INF, 1), (-1e308, 1e308, NAN), (1, 1, 1)),
    "eval nothing finite": evaluated((INF, NAN, NAN)),
    "eval empty": evaluated(),
    "activations empty": ActivationsResult(),
    "chain empty": ChainResult(),
    "chain dead": chained(0.5, 0.0, 3.0),
    "chain dead at once": chained(0.0),
    "chain of one": chained(1.0),
    "diagnose empty": DiagnosisResult(),
    "diagnose one layer": diagnosed(-1.0),
    "diagnose dead": diagnosed(-INF, -INF, -INF, activation_mean=0.0, activation_variance=0.0),
    "diagnose broken": diagnosed(NAN, INF, -1.0, activation_mean=NAN, activation_variance=INF),
    "diagnose huge": diagnosed(300.0, 1.0, activation_mean=1e200, activation_variance=1e300),
    "diagnose unmeasured": diagnosed(
        None,
        None,
        activation_mean=None,
        activation_variance=None,
        zero_fraction=None,
        dead_fraction=None,
        saturated_fraction=None,
    ),
    "diagnose deep": diagnosed(*np.linspace(-850, 0, 10_000).tolist()),
    "clip empty": ClipResult(),
    "clip nothing suggested": clip_suggested(None, INF),
    "clip dead sequence": replace(
        clipped_sequence(), flow=tuple(TimeStepRow(step, -INF) for step in range(1, 9))
    ),
    "clip diverged": clipped(last=NAN),
    "clip diverged at once": clipped(steps=1, last=INF),
    "lr one step": ranged(NAN),
    "lr flat": ranged(2.0, 2.0, 2.0),
    "sweep empty": SweepResult(),
    "sweep one point": swept((7,), (1.0,)),
    "sweep nothing finite": swept(gradient=-INF),
    "sweep huge": swept(gradient=1e300, scale=INF),
    "sweep many maps": swept(biases=tuple(i / 10 for i in range(9))),
    "sweep five verdicts": swept(weights=(0.0, 1.0, 2.0, 3.0, 1e6)),
    "theory nothing": theorized(-INF, -INF),
    "theory far": theorized(-1e11, 0, edge=False),
    "theory empty": theorized(),
    "benchmark empty": BenchmarkResult(),
    "plan empty": PlanResult(),
    "watch empty": watched(0),
    "watch once": watched(1),
    "watch one layer": named_watch(["fc"]),
    "diagnose dead roles": replace(
        named_diagnosis(transformer(12), dead_fraction=1.0),
        findings=(Finding("dead", "error", tuple(range(20, 40)), "", ""),),
    ),
    "benchmark diverged": trained(3, loss=NAN),
    "benchmark diverged at once": trained(1, loss=NAN),
}
ALL = {**EXAMPLES, **AWKWARD}


def panels(result: Result) -> list[Axes]:
    return [axes for axes in figures.draw(result).axes if axes.get_visible()]


@functools.cache
def laid_out(name: str) -> Figure:
    figure = figures.draw(ALL[name])
    figure.draw_without_rendering()
    return figure


def shown(name: str) -> list[Axes]:
    return [axes for axes in laid_out(name).axes if axes.get_visible()]


def line(axes: Axes, label: str) -> Line2D:
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found


def words(axes: Axes) -> str:
    shown = [text.get_text() for text in axes.texts]
    return " | ".join([axes.get_title("left"), *shown]).replace("\n", " ")


def shaded(axes: Axes, tint: str) -> list[tuple[float, float]]:
    """Where `axes` is shaded in `tint`, in data coordinates."""
    spans = [p for p in axes.patches if to_hex(p.get_facecolor()) == tint]
    edges = [p.get_patch_transform().transform(p.get_path().vertices)[:, 0] for p in spans]
    return [(float(x.min()), float(x.max())) for x in edges]


def drawn(line: Line2D) -> tuple[list[float], list[float]]:
    """The points of a line, without its gaps."""
    x, y = (np.asarray(data, dtype=float) for data in line.get_data())
    return x[np.isfinite(y)].tolist(), y[np.isfinite(y)].tolist()
