"""From what was noted of a loop to the facts that checks read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.findings.thresholds import INPUTS_DIFFER
from gradflow.measurement.norms import as_tensor
from gradflow.results.watching import NonFiniteFacts, SpreadFacts, WatchFacts
from gradflow.watching.nonfinite import INPUTS
from gradflow.watching.recording import Recording, Snapshot, WatchedLayer

#: Sampled steps whose median stands for the end.
LAST = 3


def losses_and_rates(
    snapshots: Sequence[Snapshot],
) -> tuple[list[float | None], list[float | None]]:
    """Return the loss and the learning rate of every recorded step, brought to the host."""
    losses = [loss for s in snapshots for loss in s.notes.losses]
    wanted = [*(v.value for v in losses), *(v.scale for v in losses)]
    numbers = _on_host([*wanted, *(s.notes.rate for s in snapshots)])
    values, scales = numbers[: len(losses)], numbers[len(losses) : 2 * len(losses)]
    unscaled = iter([_over(v, s) for v, s in zip(values, scales, strict=True)])
    found = [[next(unscaled) for _ in s.notes.losses] for s in snapshots]
    sums = [sum(v for v in of if v is not None) if any(_known(of)) else None for of in found]
    return sums, numbers[2 * len(losses) :]


def _known(values: Sequence[float | None]) -> list[bool]:
    return [value is not None for value in values]


def _over(value: float | None, scale: float | None) -> float | None:
    return value if value is None or not scale else value / scale


def _on_host(values: Sequence[float | Tensor | None]) -> list[float | None]:
    """Return plain numbers; one transfer from each device."""
    found: list[float | None] = [None if isinstance(v, Tensor) else v for v in values]
    there = [(i, v) for i, v in enumerate(values) if isinstance(v, Tensor)]
    for device in {v.device for _, v in there}:
        own = [(i, v) for i, v in there if v.device == device]
        flat = torch.stack([v.float().reshape(()) for _, v in own]).cpu().tolist()
        for (place, _), number in zip(own, flat, strict=True):
            found[place] = number
    return found


def loop_facts(
    recording: Recording, history: Mapping[str, Floats], losses: Sequence[float | None]
) -> WatchFacts:
    """Return the facts of a recording, with those of its loop.

    Parameters
    ----------
    history
        (steps, layers) by name, as the rows show it.
    losses
        Of the recorded steps.
    """
    loop, snapshots = recording.loop, recording.snapshots
    final = _final_norms(recording)
    return dataclasses.replace(
        recording.facts,
        batch=loop.first_batch,
        last_batch=loop.last_batch,
        lost_batch=loop.lost_batch,
        optimizer=loop.optimizer,
        unowned=loop.unowned,
        unchanged=_unchanged(history, final),
        stale=_stale(snapshots),
        moved=_moved(recording, history["update_ratio"]),
        shrunk=_shrunk(history["weight_norm"], final),
        first_nonfinite=_first_nonfinite(recording, history, losses, final),
        conflicts=loop.conflicts,
        refused=loop.refused,
        spread=_spread(snapshots),
        inner_spread=_inner_spread(recording),
    )


def _final_norms(recording: Recording) -> Floats:
    """Return every layer's ‖w‖ at the end; NaN where it is not known, ∞ where it is not finite."""
    final, layers = recording.loop.final, recording.layers
    if final is None:
        return np.full(len(layers), np.nan)
    numbers = as_tensor(final.numbers).cpu().double().numpy()
    named = dict(zip(final.names, np.where(np.isnan(numbers), np.inf, numbers), strict=True))
    return np.array([_of(layer, named) for layer in layers], dtype=np.float64)


def _of(layer: WatchedLayer, named: Mapping[str, float]) -> float:
    own = [named[n] for n in layer.parameters if n in named]
    return math.hypot(*own) if own else math.nan


def _stale(snapshots: Sequence[Snapshot]) -> float | None:
    """Return the share of the steps looked at whose gradients held those of the step before."""
    looked = [s.notes for s in snapshots if s.notes.looked]
    left = [n.stale for n in looked if n.stale is not None]
    if not looked:
        return None
    if not left:
        return 0.0
    norms = torch.stack([as_tensor(n).max() for n in left]).cpu()
    return float((~(norms <= 0)).sum()) / len(looked)  # what is not a number was left too


def _unchanged(history: Mapping[str, Floats], final: Floats) -> tuple[int, ...]:
    """Return the rows of layers with a gradient whose weight stayed as it was."""
    updates, norms = history["update_ratio"], history["weight_norm"]
    gradients = history["gradient_log10_norm"]
    found = []
    for layer in range(updates.shape[1]):
        known = updates[~np.isnan(updates[:, layer]), layer]
        weights = norms[~np.isnan(norms[:, layer]), layer]
        if not math.isnan(final[layer]):
            weights = np.append(weights, final[layer])
        same = len(weights) > 0 and np.ptp(weights) <= 1e-12 * abs(weights[0])
        reached = np.isfinite(gradients[:, layer]).any()
        if len(known) > 1 and not known.any() and same and reached:
            found.append(layer + 1)
    return tuple(found)


def _moved(recording: Recording, ratios: Floats) -> tuple[float | None, ...]:
    """Return the sum of every layer's ratios over all steps, those between the sampled as well."""
    steps = np.array([s.step for s in recording.snapshots], dtype=float)
    found: list[float | None] = []
    for layer in range(ratios.shape[1]):
        known = np.isfinite(ratios[:, layer])
        if not known.any():
            found.append(None)
            continue
        every = np.arange(1, recording.seen + 1)
        found.append(float(np.interp(every, steps[known], ratios[known, layer]).sum()))
    return tuple(found)


def _shrunk(norms: Floats, final: Floats) -> tuple[float | None, ...]:
    """Return every layer's last ‖w‖ over its first."""
    found: list[float | None] = []
    for layer in range(norms.shape[1]):
        known = norms[np.isfinite(norms[:, layer]), layer]
        last = final[layer] if np.isfinite(final[layer]) else known[-1] if len(known) else math.nan
        known_first = len(known) > 0 and known[0] > 0 and not math.isnan(last)
        found.append(float(last / known[0]) if known_first else None)
    return tuple(found)


def _spread(snapshots: Sequence[Snapshot]) -> SpreadFacts | None:
    """Return how much outputs differ between examples, at the start and at the end."""
    read = [torch.cat([as_tensor(n) for n in s.spreads]) for s in snapshots if s.spreads]
    found = []
    for given, given_rms, apart, rms in torch.stack(read).cpu().tolist() if read else ():
        if given_rms and given > INPUTS_DIFFER * given_rms and math.isfinite(rms):
            found.append((apart / rms if rms else 0.0, rms))
    if not found:
        return None
    last = found[-LAST:]
    return SpreadFacts(
        first=found[0][0],
        last=float(np.median([ratio for ratio, _ in last])),
        last_rms=float(np.median([rms for _, rms in last])),
    )


def _inner_spread(recording: Recording) -> tuple[tuple[float, float] | None, ...]:
    inner = recording.loop.inner
    if len(inner) < 2:
        return ()
    first, last = inner
    names = [layer.name for layer in recording.layers]
    return tuple((first[n], last[n]) if n in first and n in last else None for n in names)


def _first_nonfinite(
    recording: Recording,
    history: Mapping[str, Floats],
    losses: Sequence[float | None],
    final: Floats,
) -> NonFiniteFacts | None:
    """Return what was the first not to be finite, in the order in which a step works."""
    snapshots = recording.snapshots
    weights, updates = history["weight_norm"], history["update_ratio"]
    gradients = history["gradient_log10_norm"]
    known = [loss for loss in losses if loss is not None]
    for_good = bool(known) and not math.isfinite(known[-1])  # one alone may be the loop's affair
    for row, (snapshot, loss) in enumerate(zip(snapshots, losses, strict=True)):
        if bad := _lost(weights[row]):
            return NonFiniteFacts("update", snapshot.step - 1, bad, _before(losses, row))
        if found := _of_pass(recording, snapshot.step, _lost(gradients[row]), loss, for_good):
            return found
        if bad := _lost(updates[row]):
            return NonFiniteFacts("update", snapshot.step, bad, loss)
    if bad := _lost(final):
        return NonFiniteFacts("update", snapshots[-1].step if snapshots else 0, bad)
    return None


def _of_pass(
    recording: Recording, step: int, bad: tuple[int, ...], loss: float | None, for_good: bool
) -> NonFiniteFacts | None:
    """What was lost on the way forwards or back.

    Parameters
    ----------
    bad
        Layers whose gradient is not finite.
    for_good
        Whether the losses stay so: a square may overflow whose slope does not.
    """
    if loss is not None and not math.isfinite(loss) and (bad or for_good):
        return _of_loss(recording, step, loss)
    return NonFiniteFacts("gradient", step, bad, loss) if bad else None


def _before(losses: Sequence[float | None], row: int) -> float | None:
    return losses[row - 1] if row else None


def _lost(values: Floats) -> tuple[int, ...]:
    return tuple(int(i) + 1 for i in np.flatnonzero(np.isposinf(values)))


def _of_loss(recording: Recording, step: int, loss: float) -> NonFiniteFacts:
    """Tell a layer whose output is not finite from a loss that is not."""
    name = recording.loop.nonfinite_layer
    if name is None:
        return NonFiniteFacts("loss", step, (), loss)
    if name == INPUTS:
        return NonFiniteFacts("inputs", step, (), loss)
    rows = [i + 1 for i, layer in enumerate(recording.layers) if _names(layer, name)]
    return NonFiniteFacts("output", step, tuple(rows), loss)


def _names(layer: WatchedLayer, name: str) -> bool:
    return any(p.rpartition(".")[0] == name or p == name for p in layer.parameters)
