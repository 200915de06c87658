"""Measuring a module that gradflow did not build, and leaving it as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import notes as say
from gradflow.conversion import converted
from gradflow.errors import GradflowError
from gradflow.failures import failure, out_of_memory
from gradflow.precision import HALF, Entries, Underflow, gradient_entries, underflow
from gradflow.preserving import (
    is_compiled,
    is_lazy_module,
    original,
    plain_name,
    preserved,
    uncompiled,
)
from gradflow.quantities import QUANTITIES, Measurement
from gradflow.recorder import first_tensor, measure
from gradflow.results.base import Finding
from gradflow.scaling import measure_scaled

Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Task:
    """What a user's module is called with, and how its output is judged.

    Attributes
    ----------
    inputs
        A tensor, a tuple or list of arguments, or a dictionary of keyword arguments.
    targets
        The second argument of `loss`; None: it has none.
    loss
        None: cross-entropy with targets; without them, the output's own ``loss``.
    """

    inputs: Any
    targets: Any = None
    loss: Loss | None = None

    def run(self, model: nn.Module) -> Tensor:
        """Return the loss of one forward pass."""
        output = called(model, copied(self.inputs))
        try:
            return _scalar(self._judge(output))
        except GradflowError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise failure(error, None, "the loss") from error

    def _judge(self, output: Any) -> Any:
        if self.loss is not None:
            return self.loss(output) if self.targets is None else self.loss(output, self.targets)
        if self.targets is None:
            return own_loss(output)
        logits = main_output(output)
        if logits is None:
            raise GradflowError(
                f"no tensor in the model's output ({type(output).__name__}) to take a loss of",
                "pass loss=lambda output, targets: …",
            )
        return F.cross_entropy(logits, self.targets)

    def examples(self) -> int:
        """Return the number of examples in the batch."""
        values = self.inputs.values() if isinstance(self.inputs, dict) else listed(self.inputs)
        first = next((a for a in values if isinstance(a, Tensor)), None)
        return len(first) if first is not None and first.dim() else 1

    def averaged(self) -> bool:
        """Return whether the loss is a mean over them."""
        return getattr(self.loss, "reduction", "mean") != "sum"

    def widened(self, dtype: torch.dtype = torch.float64) -> Task:
        """Return the same with every real number in `dtype`."""

        def wide(value: Any) -> Any:
            floating = isinstance(value, Tensor) and value.is_floating_point()
            return value.to(dtype) if floating else value

        return replace(self, inputs=mapped(wide, self.inputs), targets=wide(self.targets))


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
    notes
        What a user should know of how it was measured.
    """

    measurement: Measurement
    examples: int
    averaged: bool
    underflow: Underflow | None = None
    notes: tuple[Finding, ...] = ()


def measure_module(model: nn.Module, task: Task) -> Inspection:
    """Run one pass; where a layer's δ under- or overflows, run a float64 copy as well.

    Raises
    ------
    GradflowError
        If there is no loss to be had from what was given, no layer with weights, or an exception
        in the model.
    """
    notes = [say.compiled()] if is_compiled(model) else []
    model = original(model)
    if is_lazy_module(model):
        notes.append(say.lazy())
        model = _materialized(model, task)
    _refuse_sharded(model)
    plain = measured(model, task)
    notes += say.unreached(plain.unreached())
    notes += say.shared(_shared_rows(model, plain))
    found, recovered = _recovered(model, task, plain)
    notes += say.widened(recovered)
    lost = _lost_in_half(model, task, plain)
    return Inspection(found, task.examples(), task.averaged(), lost, tuple(notes))


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


def called(model: nn.Module, inputs: Any) -> Any:
    """Return what `model` makes of the inputs, however many there are."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*listed(inputs))


def listed(inputs: Any) -> tuple[Any, ...]:
    """Return the positional arguments that `inputs` stands for."""
    return tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)


def own_loss(output: Any) -> Any:
    """Return the loss that a model returns with its output.

    Raises
    ------
    GradflowError
        If it returns none.
    """
    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if loss is None and isinstance(output, Tensor) and output.dim() == 0:
        loss = output
    if loss is None:
        raise GradflowError(
            "diagnose(model, inputs) needs targets or a loss",
            "pass targets (cross-entropy is the default), or loss=lambda output: …",
        )
    return loss


def main_output(output: Any) -> Tensor | None:
    """Return the logits of a model's output: those called so, or the first real tensor."""
    if isinstance(output, dict) and isinstance(output.get("logits"), Tensor):
        logits: Tensor = output["logits"]
        return logits
    return first_tensor(output)


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise GradflowError(
            f"the loss is a {type(loss).__name__}, not a tensor", "return a 0-d tensor from loss"
        )
    if not loss.requires_grad:
        raise GradflowError(
            "the loss depends on no parameter that requires a gradient",
            "is there a detach(), a no_grad(), or an argmax on the way?",
        )
    return loss


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Return nested tuples, lists and dictionaries with `function` applied to their leaves."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(mapped(function, item) for item in value)
    if type(value) is dict:
        return {key: mapped(function, item) for key, item in value.items()}
    return function(value)


def copied(inputs: Any) -> Any:
    """Return copies of the tensors in `inputs`: a model may work in place."""

    def copy_of(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach().clone().requires_grad_(value.requires_grad)

    return mapped(copy_of, inputs)


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


def criterion_is_cross_entropy(loss: Loss | None, targets: Any) -> bool:
    """Return whether the loss is plain cross-entropy of class labels."""
    plain = loss is None or (isinstance(loss, nn.CrossEntropyLoss) and loss.weight is None)
    return plain and isinstance(targets, Tensor) and not targets.is_floating_point()


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
        row for row, (gone, seen) in enumerate(zip(lost.tolist(), known, strict=True), start=1)
        if gone and seen
    )  # fmt: skip


def keep_counts(wide: Measurement, plain: Measurement) -> None:
    """Keep saying what was not finite in the model's own dtype."""
    for name in ("forward_nonfinite", "backward_nonfinite"):
        at = QUANTITIES.index(name)
        wide.values[:, at] = plain.values[:, at]
