"""The subject that a user brings: a module, measured as it is and left as it was."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.diagnosis.objective import (
    Objective,
    called,
    copied,
    criterion_is_cross_entropy,
    listed,
)
from gradflow.diagnosis.subject import Pass, Subject, lost_in_half
from gradflow.errors import GradflowError, out_of_memory
from gradflow.measurement.failures import failure
from gradflow.measurement.half_precision import HALF, Underflow
from gradflow.measurement.preserving import (
    is_compiled,
    is_lazy_module,
    original,
    plain_name,
    preserved,
    uncompiled,
)
from gradflow.measurement.quantities import QUANTITIES
from gradflow.measurement.recorder import measure
from gradflow.measurement.records import Measurement, keep_counts
from gradflow.measurement.scaled_pass import measure_scaled
from gradflow.networks.conversion import converted
from gradflow.results.diagnosis import DiagnosisFacts


def user_module(model: nn.Module, objective: Objective, lr: float) -> Subject:
    """Return a module that was not built here as a subject: one pass, with the weights it has."""
    return Subject(passes=lambda: [measured_module(model, objective)], lr=lr)


def measured_module(model: nn.Module, objective: Objective) -> Pass:
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
        model = _materialized(model, objective)
    _refuse_sharded(model)
    plain = one_pass(model, objective)
    found, widened = _recovered(model, objective, plain)
    return Pass(
        found,
        examples=objective.examples(),
        averaged=objective.averaged(),
        loss=found.loss.double().mean().item(),
        underflow=_lost_in_half(model, objective, plain),
        facts=DiagnosisFacts(
            compiled=compiled,
            lazy=lazy,
            unreached=plain.unreached(),
            shared=tuple(_shared_rows(model, plain)),
            widened=widened,
        ),
    )


def one_pass(model: nn.Module, objective: Objective) -> Measurement:
    """Run one pass over a module that was not built here, and leave it as it was.

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
            seen = measure(model, lambda: objective.run(model))
    except GradflowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise failure(error, model) from error
    return replace(seen, names=[plain_name(name) for name in seen.names])


def _materialized(model: nn.Module, objective: Objective) -> nn.Module:
    """A copy of a lazy module that a first pass has given its shapes."""
    model = copy.deepcopy(model)
    try:
        with preserved(model), torch.no_grad():
            called(model, copied(objective.inputs))
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
    model: nn.Module, objective: Objective, plain: Measurement
) -> tuple[Measurement, tuple[int, ...]]:
    """The measurement with what its dtype lost, and the rows for which that made a difference."""
    suspects = lost_layers(plain)
    if not suspects or plain.loss.dtype == torch.float64:
        return plain, ()
    wide = _in_float64(model, objective)
    if wide is None or wide.names != plain.names:
        return plain, ()
    if lost_layers(wide) and criterion_is_cross_entropy(objective.loss, objective.targets):
        wide = scaled_pass(model, objective) or wide
    still = lost_layers(wide)
    recovered = tuple(layer for layer in suspects if layer not in still)
    if not recovered:  # truly 0 or not finite: dead, or broken
        return plain, ()
    keep_counts(wide, plain)
    return wide, recovered


def _lost_in_half(model: nn.Module, objective: Objective, plain: Measurement) -> Underflow | None:
    """What a half-precision model loses of its gradients; None for one in another dtype."""
    if not {p.dtype for p in model.parameters()} & set(HALF.values()):
        return None
    try:
        single = copy.deepcopy(model).float(), objective.widened(torch.float32).run
        lost = lost_in_half(single, (model, objective.run), replicated=False)
    except Exception:  # a foreign model may insist on its own dtype
        return None
    return lost if len(lost.weight) == len(plain.names) else None


def _in_float64(model: nn.Module, objective: Objective) -> Measurement | None:
    """The same in float64; None for a model that cannot be copied or run there."""
    device = next(model.parameters()).device.type
    try:
        with torch.autocast(device, enabled=False):
            return one_pass(copy.deepcopy(model).double(), objective.widened())
    except Exception:  # a foreign model may insist on its own dtype
        return None


def scaled_pass(model: nn.Module, objective: Objective) -> Measurement | None:
    """Measure by a forward pass that cannot overflow; None where it is not known how.

    It is known for a chain of linear layers with activations that are known, on one tensor of
    (examples, features).
    """
    blocks = converted(model)
    (inputs, *others), labels = listed(objective.inputs), objective.targets
    if blocks is None or others or not isinstance(inputs, Tensor) or inputs.dim() != 2:
        return None
    scale = 1 / len(labels) if objective.averaged() else 1.0
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
