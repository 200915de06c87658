"""The subject that a user brings: a module, measured as it is and left as it was."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradflow.diagnosis.objective import (
    Objective,
    called,
    copied,
    criterion_is_cross_entropy,
    listed,
)
from gradflow.diagnosis.subject import Pass, Subject, lost_in_half, sizes_of
from gradflow.diagnosis.zero_weights import (
    ZeroWeights,
    ids,
    is_zero,
    wanted,
    zero_parameters,
    zero_weights,
)
from gradflow.errors import GradflowError, out_of_memory
from gradflow.measurement import walks
from gradflow.measurement.batch import BatchLook
from gradflow.measurement.failures import failure, first_line
from gradflow.measurement.half_precision import HALF, Underflow
from gradflow.measurement.module_state import ModuleState
from gradflow.measurement.modules import normalizes_batch, own_parameter
from gradflow.measurement.preserving import (
    is_compiled,
    is_lazy_module,
    is_scripted,
    original,
    plain_name,
    preserved,
    random_states_kept,
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
    return Subject(passes=lambda: [measured_module(model, objective, lr)], lr=lr)


@walks.remembered()
def measured_module(model: nn.Module, objective: Objective, lr: float | None = None) -> Pass:
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
    model = materialized(model, objective)
    refuse_sharded(model)
    refuse_meta(model)
    starting, look = zero_parameters(model), BatchLook(model, lr)
    plain, zeros = _as_it_is(model, objective, starting, look)
    found, range_facts = _recovered(model, objective, plain, zeros.started)
    lost, no_float32 = _lost_in_half(model, objective, plain)
    loss = found.loss.double().mean().item()
    return Pass(
        found,
        examples=objective.examples(),
        averaged=objective.averaged(),
        as_given=True,
        loss=loss,
        underflow=lost,
        after_step=zeros.after,
        sizes=lambda: sizes_of(model),
        facts=replace(
            range_facts,
            no_float32=no_float32,
            half=_half(model),
            compiled=compiled,
            lazy=lazy,
            unreached=plain.unreached(),
            shared=tuple(shared_rows(model, plain)),
            same_inputs=objective.same_inputs(),
            example_loss=loss / (1 if objective.averaged() else objective.examples()),
            batch_norm=normalizes_batch(model),
            zero_weights=zeros.names,
            started=zeros.started,
            repeated=plain.repeated(),
            uncovered=tuple(plain_name(name) for name in plain.uncovered.names),
            uncovered_share=plain.uncovered.share,
            scripted=is_scripted(model),
            batch=look.facts,
        ),
    )


def _as_it_is(
    model: nn.Module, objective: Objective, starting: dict[str, nn.Parameter], look: BatchLook
) -> tuple[Measurement, ZeroWeights]:
    """The pass in the model's own dtype, and what starts at 0 in it."""
    state = ModuleState(model)
    run = functools.partial(one_pass, model, objective, rescaled=False, state=state)
    plain = run(keep=ids(starting), look=look)
    only = wanted(plain) if starting else ()
    return plain, zero_weights(starting, plain, lambda keep: run(only=only, keep=keep))


def one_pass(
    model: nn.Module,
    objective: Objective,
    *,
    rescaled: bool = True,
    look: BatchLook | None = None,
    only: Collection[str] | None = None,
    keep: Collection[int] = (),
    thrown_away: bool = False,
    state: ModuleState | None = None,
) -> Measurement:
    """Run one pass over a module that was not built here, and leave it as it was.

    Parameters
    ----------
    rescaled
        Whether gradients are kept in range at the children of an `nn.Sequential`.
    look
        Takes the facts of the batch.
    only
        Quantities that are asked for; None: all.
    keep
        Parameters, by ``id``, whose gradients are kept.
    thrown_away
        Whether the module is a copy that nobody uses again.
    state
        What the module holds, if it is known.

    Raises
    ------
    GradflowError
        If the module has no layer, nothing to train, or raises.
    """
    if not any(p.requires_grad for p in walks.parameters(model)):
        raise GradflowError(
            "no parameter of the model requires a gradient", "requires_grad_(True) on some of them"
        )
    leaves: list[Tensor] = []
    try:
        with (
            preserved(model, thrown_away=thrown_away, state=state),
            uncompiled(model),
            torch.inference_mode(False),
            look.attached() if look is not None else contextlib.nullcontext(),
        ):
            seen = measure(
                model,
                lambda: objective.run(model, leaves),
                leaves=leaves,
                rescaled=rescaled,
                only=only,
                keep=keep,
                look=look,
            )
    except GradflowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise _emptiness(model, objective) or failure(error, model) from error
    return replace(seen, names=[plain_name(name) for name in seen.names])


def _emptiness(model: nn.Module, objective: Objective) -> GradflowError | None:
    """The error that says that there is nothing to measure: an empty batch, a width of 0."""
    for shape in objective.shapes():
        if 0 in shape:
            return GradflowError(
                f"the batch is empty: a tensor of it is {_size(shape)}", "give at least one example"
            )
    for name, parameter in walks.named_parameters(model):
        if not is_lazy(parameter) and 0 in parameter.shape:
            return GradflowError(
                f"'{name}' has no entries, its shape is {_size(parameter.shape)}: a width of 0",
                "give every layer a width of at least 1",
            )
    return None


def _size(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape))


def materialized(model: nn.Module, objective: Objective) -> nn.Module:
    """Return `model`; of a lazy one a copy that a first pass has given its shapes."""
    if not is_lazy_module(model):
        return model
    model = copy.deepcopy(model)
    try:
        with walks.remembered(False), random_states_kept(), torch.no_grad():
            called(model, copied(objective.inputs))
    except Exception as error:
        raise failure(error, model) from error
    return model


def refuse_meta(model: nn.Module) -> None:
    """Refuse a module without values.

    Raises
    ------
    GradflowError
        If a parameter or buffer is on the meta device.
    """
    if any(tensor.is_meta for tensor in (*walks.parameters(model), *walks.buffers(model))):
        named = (*walks.named_parameters(model), *walks.named_buffers(model))
        empty = [name for name, tensor in named if tensor.is_meta]
        raise GradflowError(
            f"'{empty[0]}' is on the meta device and has no values to measure with",
            "give it weights first: model.to_empty(device='cpu'), then load_state_dict()",
        )


def refuse_sharded(model: nn.Module) -> None:
    """Refuse a module of which this process holds a part.

    Raises
    ------
    GradflowError
        If its parameters are sharded.
    """
    if any(
        type(p) is not nn.Parameter and hasattr(p, "full_tensor") for p in walks.parameters(model)
    ):
        raise GradflowError(
            "diagnose() measures one process; this model's parameters are sharded (DTensor)",
            "gradflow.watch(model) measures it while it trains; or diagnose it before sharding",
        )


def shared_rows(model: nn.Module, plain: Measurement) -> list[tuple[int, ...]]:
    """Return groups of rows (from 1) with one and the same weight."""
    owners: dict[int, list[str]] = {}
    for name, module in walks.named_parts(model):
        weight = own_parameter(module, "weight")  # a parametrised one would be computed
        if weight is not None:
            owners.setdefault(id(weight), []).append(plain_name(name))
    key = {name: ident for ident, names in owners.items() for name in names}
    rows: dict[Any, list[int]] = {}
    for row, name in enumerate(plain.names, start=1):
        rows.setdefault(key.get(name, name), []).append(row)
    return [tuple(group) for group in rows.values() if len(group) > 1]


def _recovered(
    model: nn.Module, objective: Objective, plain: Measurement, started: Collection[int]
) -> tuple[Measurement, DiagnosisFacts]:
    """The measurement with what its dtype lost, and for which layers that made a difference.

    Parameters
    ----------
    started
        Rows at which something is 0 only because weights start at 0.
    """
    suspects = lost_layers(plain)
    explained = all(row in started for row in suspects) or truly_zero(model, plain, suspects)
    if plain.loss.dtype == torch.float64 or explained:
        return plain, DiagnosisFacts()
    if isinstance(model, nn.Sequential):
        plain = one_pass(model, objective)
        if not (suspects := lost_layers(plain)):
            return plain, DiagnosisFacts()
    try:
        wide = _in_float64(model, objective, plain)
    except Exception as error:  # whatever a model raises that insists on its own dtype
        return plain, DiagnosisFacts(not_widened=suspects, no_float64=_reason(error))
    if lost_layers(wide) and criterion_is_cross_entropy(objective.loss, objective.targets):
        wide = scaled_pass(model, objective) or wide
    still = lost_layers(wide)
    recovered = tuple(layer for layer in suspects if layer not in still)
    if not recovered:  # truly 0 or not finite: dead, or broken
        return plain, DiagnosisFacts()
    keep_counts(wide, plain)
    return wide, DiagnosisFacts(widened=recovered)


def _in_float64(model: nn.Module, objective: Objective, plain: Measurement) -> Measurement:
    """The same in float64; raises for a model that cannot be copied or run there."""
    device = walks.parameters(model)[0].device.type
    with torch.autocast(device, enabled=False):
        copied = copy.deepcopy(model).double()
        wide = one_pass(copied, objective.widened(), thrown_away=True)
    if wide.names != plain.names:
        raise GradflowError("the copy ran other layers")
    return wide


def _lost_in_half(
    model: nn.Module, objective: Objective, plain: Measurement
) -> tuple[Underflow | None, str | None]:
    """What a half-precision model loses of its gradients, or why that is not known.

    Neither for a model in another dtype.
    """
    if _half(model) is None:
        return None, None
    try:
        single = copy.deepcopy(model).float(), objective.widened(torch.float32).run
        lost = lost_in_half(single, (model, objective.run), replicated=False)
    except Exception as error:  # whatever a model raises that insists on its own dtype
        return None, _reason(error)
    if len(lost.weight) != plain.layers:
        return None, "the copy ran other layers"
    return lost, None


def _half(model: nn.Module) -> str | None:
    """The half-precision dtype that parameters have, if any; the loss may have another one."""
    dtypes = {p.dtype for p in walks.parameters(model)}
    return next((name for name, dtype in HALF.items() if dtype in dtypes), None)


def _reason(error: Exception) -> str:
    """Say in one line why a copy in another dtype could not be measured."""
    if isinstance(error, GradflowError):
        return error.message
    return f"{type(error).__name__}: {first_line(error)}"


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
    names = [name for name, module in walks.named_parts(model) if isinstance(module, nn.Linear)]
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


#: δ further away from 1 than this may have left float32's range on its way through a layer.
_SAFE = 1e-20
#: Share of saturated units, or queries, from which a layer may have next to no slope anywhere.
_FLAT = 0.9


def truly_zero(model: nn.Module, measured: Measurement, suspects: tuple[int, ...]) -> bool:
    """Return whether δ is 0 at these rows by the network itself, not by the range of its dtype.

    So it is while δ is far from the ends of the range wherever it is not 0, and a weight or a gain
    is 0, or every unit of a layer is dead, or no slope is small that could have made so much of it
    so little at once: then the model has no use for what these layers make.
    """
    values = dict(zip(QUANTITIES, measured.values[..., 0].unbind(1), strict=True))
    rms = values["delta_rms"]
    zero = rms[torch.tensor(suspects, device=rms.device) - 1] == 0
    rest = rms[rms != 0].nan_to_num(1.0)  # NaN: not measured
    far = (rest < _SAFE) | (rest > 1 / _SAFE)
    dead = (values["dead_fraction"] == 1) & (values["zero_fraction"] == 1)
    flat = values["saturated_fraction"].nan_to_num(), values["attention_saturated"].nan_to_num()
    steep = max(float(share.max()) for share in flat) < _FLAT
    cause = steep or bool(dead.any())
    cause = cause or any(_is_zero(name, p) for name, p in walks.named_parameters(model))
    return bool(zero.all() and rest.numel() and not far.any() and cause)


def _is_zero(name: str, parameter: Tensor) -> bool:
    return "bias" not in name and parameter.numel() > 0 and is_zero(parameter)
