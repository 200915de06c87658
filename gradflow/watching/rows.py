"""From what `watch` recorded to its result: one transfer to the host, then NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.findings.check import judged
from gradflow.measurement.modules import matrices
from gradflow.measurement.norms import Numbers, as_tensor
from gradflow.measurement.preserving import plain_name
from gradflow.measurement.rates import fit_rates
from gradflow.results.base import RunMeta
from gradflow.results.watching import (
    WatchFacts,
    WatchHistoryRow,
    WatchResult,
    WatchRow,
    WatchStepRow,
)
from gradflow.watching import checks
from gradflow.watching.step_table import SENSED

if TYPE_CHECKING:
    from gradflow.watching.recording import Snapshot
    from gradflow.watching.run import Watch

#: Rounding of a fused norm: what is smaller by less than this was not clipped.
_SAME = 1e-6


def summarized(watch: Watch) -> WatchResult:
    """Return the result of a watch, running or over."""
    layers = Layers(watch)
    recorded = watch.snapshots
    table = Recorded(recorded, len(watch.parameters))
    history = {
        "gradient_log10_norm": _log10(layers.together(table.before)),
        "clipped_log10_norm": _log10(layers.together(table.after)),
        "update_ratio": layers.together(table.updates) / layers.together(table.weights, own=True),
        "weight_norm": layers.together(table.weights),
        **layers.sensed(watch),
    }
    steps = tuple(_steps(recorded, table))
    cut = [s for s in steps if s.clipped]
    factors = [s.norm_after / s.norm_before for s in cut if s.norm_after and s.norm_before]
    deltas = [column[None] for column in history["delta_log10_rms"][:, :-1].T]
    rates = [fit_rates([d[:, s] for d in deltas], layers.names[:-1]) for s in range(len(recorded))]
    known = [float(r[0]) for r in rates if r is not None]
    result = WatchResult(
        records=tuple(_rows(layers, history)),
        meta=_meta(watch),
        rate=float(np.median(known)) if known else None,
        seen=watch.seen,
        every=watch.every,
        clip_rate=len(cut) / len(steps) if steps else None,
        clip_factor=float(np.median(factors)) if factors else None,
        skipped=watch.skipped,
        history=tuple(_history(recorded, layers, history)),
        steps=steps,
        facts=WatchFacts(compiled=watch.compiled),
    )
    return judged(result, checks.CHECKS)


class Layers:
    """The rows: every module that owns a matrix, embeddings included, in the model's order."""

    def __init__(self, watch: Watch) -> None:
        owners = [
            (n, m) for n, m in watch.model.named_modules() if any(p.requires_grad for p in _own(m))
        ]
        place = {id(p): i for i, p in enumerate(watch.parameters.values())}
        self.names = [plain_name(name) for name, _ in owners]
        self.kinds = [type(m).__name__.removeprefix("FSDP") for _, m in owners]
        self.indices = [[place[id(p)] for p in _own(m) if id(p) in place] for _, m in owners]
        seen = [] if watch.sensors is None else list(watch.sensors.layers)
        self.sensors = [seen.index(n) if n in seen else None for n, _ in owners]

    def together(self, norms: Floats, *, own: bool = False) -> Floats:
        """(steps, parameters) to (steps, layers); with `own`, 0 becomes NaN for a division."""
        squares = [np.square(norms[:, i]).sum(1) for i in self.indices]
        found = np.sqrt(np.stack(squares, 1)) if squares else norms[:, :0]
        return np.where(found == 0, np.nan, found) if own else found

    def sensed(self, watch: Watch) -> dict[str, Floats]:
        """(steps, layers) by name of what the sensors noted."""
        steps, columns = len(watch.snapshots), {}
        none = np.empty((steps, 0, len(SENSED)))
        readings = none if watch.sensors is None else watch.sensors.table()
        for q, name in enumerate(SENSED):
            by_layer = [
                np.full(steps, np.nan) if s is None else readings[:, s, q] for s in self.sensors
            ]
            columns[name] = np.stack(by_layer, 1) if by_layer else np.empty((steps, 0))
        columns["delta_log10_rms"] = _log10(columns.pop("delta_rms"))
        return columns


def _own(module: torch.nn.Module) -> list[Tensor]:
    if any(True for _ in module.children()) and not hasattr(module, "weight"):
        whole = isinstance(module, torch.nn.MultiheadAttention)
        own = matrices(module) if whole else list(module.parameters(recurse=False))
    else:
        own = matrices(module)
    return [p for p in own if p.dim() >= 2]


class Recorded:
    """Every snapshot as float64 arrays, brought to the host at once.

    Of a norm, NaN says that there was no gradient; one that is not finite is ∞.
    """

    def __init__(self, snapshots: Sequence[Snapshot], parameters: int) -> None:
        def moved(part: Callable[[Snapshot], Numbers | None], size: int) -> Floats:
            there = [(i, n) for i, s in enumerate(snapshots) if (n := part(s)) is not None]
            if not there:
                return np.full((len(snapshots), size), np.nan)
            found = torch.stack([as_tensor(n) for _, n in there]).cpu().double().numpy()
            table = np.full((len(snapshots), *found.shape[1:]), np.nan)
            table[[i for i, _ in there]] = found
            return table

        self.before = _marked(moved(lambda s: s.before, parameters))
        after = _marked(moved(lambda s: s.after, parameters))
        untouched = np.array([s.after is None for s in snapshots], dtype=bool)
        factor = moved(lambda s: s.factor, 1)
        factor = np.where(np.isfinite(factor), factor, 1.0)
        self.after = np.where(untouched[:, None], self.before * factor, after)
        self.weights = moved(lambda s: s.weights, parameters)
        self.updates = moved(lambda s: s.updates, parameters)


def _marked(norms: Floats) -> Floats:
    known = np.where(np.isnan(norms), np.inf, norms)
    return np.where(known == -np.inf, np.nan, known)


def _log10(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))


def _steps(snapshots: Sequence[Snapshot], table: Recorded) -> list[WatchStepRow]:
    totals = (np.sqrt(np.nansum(np.square(t), axis=1)) for t in (table.before, table.after))
    rows = []
    for snapshot, before, after in zip(snapshots, *totals, strict=True):
        lost = bool(np.isnan(after) or after < before * (1 - _SAME))
        rows.append(WatchStepRow(snapshot.step, float(before), float(after), lost))
    return rows


def _history(
    snapshots: Sequence[Snapshot], layers: Layers, history: dict[str, Floats]
) -> list[WatchHistoryRow]:
    return [
        WatchHistoryRow(
            step=snapshot.step,
            index=layer + 1,
            **{name: _known(table[row, layer]) for name, table in history.items()},
        )
        for row, snapshot in enumerate(snapshots)
        for layer in range(len(layers.names))
    ]


def _rows(layers: Layers, history: dict[str, Floats]) -> list[WatchRow]:
    rows = []
    for layer, (name, kind) in enumerate(zip(layers.names, layers.kinds, strict=True)):
        columns = {key: table[:, layer] for key, table in history.items()}
        norms = columns["gradient_log10_norm"]
        middle = {key: _median(values) for key, values in columns.items()}
        middle.pop("clipped_log10_norm")
        rows.append(
            WatchRow(
                index=layer + 1,
                name=name,
                kind=kind,
                gradient_log10_first=_known(norms[0]) if norms.size else None,
                gradient_log10_last=_known(norms[-1]) if norms.size else None,
                **middle | {key: _last(columns[key]) for key in ("dead_fraction", "weight_norm")},
            )
        )
    return rows


def _known(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


def _median(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    # −∞ has a place in the order but no arithmetic: no mean of the middle two
    return float(np.quantile(there, 0.5, method="lower")) if there.size else None


def _last(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    return float(there[-1]) if there.size else None


def _meta(watch: Watch) -> RunMeta:
    first = next(iter(watch.parameters.values()), None)
    return RunMeta(
        torch=torch.__version__,
        device=None if first is None else str(first.device),
        dtype=None if first is None else str(first.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        config={"every": watch.every, "window": watch.window},
    )
