"""Measuring a module that gradflow did not build, and leaving it as it was."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.diagnosis.objective import Task, called, copied, criterion_is_cross_entropy, listed
from gradflow.errors import GradflowError
from gradflow.measurement.failures import failure, out_of_memory
from gradflow.measurement.half_precision import (
    HALF,
    Entries,
    Underflow,
    gradient_entries,
    underflow,
)
from gradflow.measurement.preserving import (
    is_compiled,
    is_lazy_module,
    original,
    plain_name,
    preserved,
    uncompiled,
)
from gradflow.measurement.recorder import measure
from gradflow.measurement.records import QUANTITIES, Measurement, keep_counts
from gradflow.measurement.scaled_pass import measure_scaled
from gradflow.networks.conversion import converted
from gradflow.results.diagnosis import DiagnosisFacts


@dataclass(frozen=True)
class Inspection:
    """What one pass over a user's module gave.

    Attributes
    ----------
    measurement
        In the model's dtype, or in float64 where that lost something.
    examples
        In the batch.
    averaged
        Whether the loss is a mean over them.
    underflow
        Of a model in half precision: what that loses.
    facts
        How it was measured.
    """

    measurement: Measurement
    examples: int
    averaged: bool
    underflow: Underflow | None = None
    facts: DiagnosisFacts = DiagnosisFacts()


def measure_module(model: nn.Module, task: Task) -> Inspection:
    """Run one pass; where a layer's δ under- or overflows, run a float64 copy as well.

    Raises
    ------
    GradflowError
        If there is no loss to be had from what was given, no layer with weights, or an exception
        in the model.
    """
    compiled = is_compiled(model)
    model = original(model)
    lazy = is_lazy_module(model)
    if lazy:
        model = _materialized(model, task)
    _refuse_sharded(model)
    plain = measured(model, task)
    found, widened = _recovered(model, task, plain)
    facts = DiagnosisFacts(
        compiled=compiled,
        lazy=lazy,
        unreached=plain.unreached(),
        shared=tuple(_shared_rows(model, plain)),
        widened=widened,
    )
    lost = _lost_in_half(model, task, plain)
    return Inspection(found, task.examples(), task.averaged(), lost, facts)


def measured(model: nn.Module, task: Task, *, rescaled: bool = True) -> Measurement:
    """Run one pass over a module that was not built here.

    Raises
    ------
    GradflowError
        If the module has no layer, nothing to train, or raises.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise GradflowError(
            "no parameter of the model requires a gradient", "requires_grad_(True) on some of them"
        )
    try:
        with preserved(model), uncompiled(model), torch.inference_mode(False):
            seen = measure(model, lambda: task.run(model), rescaled=rescaled)
    except GradflowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise failure(error, model) from error
    return replace(seen, names=[plain_name(name) for name in seen.names])


def _materialized(model: nn.Module, task: Task) -> nn.Module:
    """A copy of a lazy module that a first pass has given its shapes."""
    model = copy.deepcopy(model)
    try:
        with preserved(model), torch.no_grad():
            called(model, copied(task.inputs))
    except Exception as error:
        raise failure(error, model) from error
    return model


def _refuse_sharded(model: nn.Module) -> None:
    if any(hasattr(p, "full_tensor") for p in model.parameters()):
        raise GradflowError(
            "diagnose() measures one process; this model's parameters are sharded (DTensor)",
            "gradflow.watch(model) measures it while it trains; or diagnose it before sharding",
        )


def _shared_rows(model: nn.Module, plain: Measurement) -> list[tuple[int, ...]]:
    """Rows (from 1) that share a weight: modules called twice, and tied ones."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter):
            owners.setdefault(id(weight), []).append(plain_name(name))
    key = {name: ident for ident, names in owners.items() for name in names}
    rows: dict[Any, list[int]] = {}
    for row, name in enumerate(plain.names, start=1):
        rows.setdefault(key.get(name, name), []).append(row)
    return [tuple(group) for group in rows.values() if len(group) > 1]


def _recovered(
    model: nn.Module, task: Task, plain: Measurement
) -> tuple[Measurement, tuple[int, ...]]:
    """The measurement with what its dtype lost, and the rows for which that made a difference."""
    suspects = lost_layers(plain)
    if not suspects or plain.loss.dtype == torch.float64:
        return plain, ()
    wide = _wide(model, task)
    if wide is None or wide.names != plain.names:
        return plain, ()
    if lost_layers(wide) and criterion_is_cross_entropy(task.loss, task.targets):
        wide = _scaled(model, task) or wide
    still = lost_layers(wide)
    recovered = tuple(layer for layer in suspects if layer not in still)
    if not recovered:  # truly 0 or not finite: dead, or broken
        return plain, ()
    keep_counts(wide, plain)
    return wide, recovered


def _lost_in_half(model: nn.Module, task: Task, plain: Measurement) -> Underflow | None:
    """Compare a half-precision model's gradients with a float32 copy's, entry by entry."""
    if not {p.dtype for p in model.parameters()} & set(HALF.values()):
        return None
    try:
        single = copy.deepcopy(model).float()
        runs = (model, task), (single, task.widened(torch.float32))
        half, wide = (_entries(*run) for run in runs)
    except Exception:  # a foreign model may insist on its own dtype
        return None
    if not len(half) == len(wide) == len(plain.names):
        return None
    return underflow(wide, half, replicated=False)


def _entries(model: nn.Module, task: Task) -> list[Entries]:
    with preserved(model), uncompiled(model), torch.inference_mode(False):
        return gradient_entries(model, task.run, replicated=False)


def _wide(model: nn.Module, task: Task) -> Measurement | None:
    """The same in float64; None for a model that cannot be copied or run there."""
    device = next(model.parameters()).device.type
    try:
        with torch.autocast(device, enabled=False):
            return measured(copy.deepcopy(model).double(), task.widened())
    except Exception:  # a foreign model may insist on its own dtype
        return None


def _scaled(model: nn.Module, task: Task) -> Measurement | None:
    """Measure by a forward pass that cannot overflow, where the model's layers are known."""
    blocks = converted(model)
    (inputs, *others), labels = listed(task.inputs), task.targets
    if blocks is None or others or not isinstance(inputs, Tensor) or inputs.dim() != 2:
        return None
    scale = 1 / len(labels) if task.averaged() else 1.0
    scaled = measure_scaled(
        blocks[0], inputs.unsqueeze(0), labels, blocks[1], "cross-entropy", scale
    )
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return replace(scaled, names=names, kinds=["Linear"] * len(names))


def lost_layers(measured: Measurement) -> tuple[int, ...]:
    """Return the layers (from 1) whose δ is 0, subnormal or not finite."""
    rms = measured.values[:, QUANTITIES.index("delta_rms"), 0]
    exponent = measured.values[:, QUANTITIES.index("delta_exponent"), 0]
    known = [("delta_rms" in names) for names in measured.measured]
    tiny = [torch.finfo(dtype).tiny for dtype in measured.dtypes]
    floor = torch.tensor(tiny, dtype=rms.dtype, device=rms.device)
    lost = ~rms.isfinite() | ((rms < floor) & (exponent == 0))
    return tuple(
        row
        for row, (gone, seen) in enumerate(zip(lost.tolist(), known, strict=True), start=1)
        if gone and seen
    )
