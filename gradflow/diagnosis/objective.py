"""What a user's module is called with, and how its output becomes a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.errors import GradflowError, out_of_memory
from gradflow.measurement.failures import failure
from gradflow.measurement.hooks import first_tensor

Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Objective:
    """What a user's module is called with, and how its output becomes a loss.

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

    def run(self, model: nn.Module, leaves: list[Tensor] | None = None) -> Tensor:
        """Return the loss of one forward pass.

        Parameters
        ----------
        leaves
            Takes the inputs that require a gradient, which are copies.
        """
        inputs = copied(self.inputs)
        if leaves is not None:
            mapped(lambda v: leaves.append(v) if _waits(v) else None, inputs)
        output = called(model, inputs)
        try:
            return _scalar(self._loss(output))
        except GradflowError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise failure(error, None, "the loss") from error

    def _loss(self, output: Any) -> Any:
        if self.loss is not None:
            return self.loss(output) if self.targets is None else self.loss(output, self.targets)
        if self.targets is None:
            return own_loss(output)
        logits = main_output(output, "pass loss=lambda output, targets: …")
        return F.cross_entropy(logits, self.targets)

    def shapes(self) -> list[torch.Size]:
        """Return the shapes of all tensors among inputs and targets."""
        found: list[torch.Size] = []

        def note(value: Any) -> None:
            if isinstance(value, Tensor):
                found.append(value.shape)

        mapped(note, (self.inputs, self.targets))
        return found

    def examples(self) -> int:
        """Return the number of examples in the batch."""
        values = self.inputs.values() if isinstance(self.inputs, dict) else listed(self.inputs)
        first = next((a for a in values if isinstance(a, Tensor)), None)
        return len(first) if first is not None and first.dim() else 1

    def same_inputs(self) -> bool:
        """Return whether all examples are equal, so that none can differ further on."""
        values = self.inputs.values() if isinstance(self.inputs, dict) else listed(self.inputs)
        batches = [a for a in values if isinstance(a, Tensor) and a.dim() and len(a) > 1]
        return bool(batches) and all(bool((a == a[:1]).all()) for a in batches)

    def averaged(self) -> bool:
        """Return whether the loss is a mean over them."""
        return getattr(self.loss, "reduction", "mean") != "sum"

    def widened(self, dtype: torch.dtype = torch.float64) -> Objective:
        """Return the same with every real number in `dtype`."""

        def wide(value: Any) -> Any:
            floating = isinstance(value, Tensor) and value.is_floating_point()
            return value.to(dtype) if floating else value

        return replace(self, inputs=mapped(wide, self.inputs), targets=wide(self.targets))


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


def main_output(output: Any, hint: str) -> Tensor:
    """Return the logits of a model's output: those called so, or the first real tensor.

    Raises
    ------
    GradflowError
        If there is none, with `hint` as what to do.
    """
    named = output.get("logits") if isinstance(output, dict) else None
    logits = named if isinstance(named, Tensor) else first_tensor(output)
    if logits is None:
        raise GradflowError(
            f"no tensor in the model's output ({type(output).__name__}) to take a loss of", hint
        )
    return logits


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


def _waits(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def copied(inputs: Any) -> Any:
    """Return copies of the tensors in `inputs`: a model may work in place."""

    def copy_of(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach().clone().requires_grad_(value.requires_grad)

    return mapped(copy_of, inputs)


def criterion_is_cross_entropy(loss: Loss | None, targets: Any) -> bool:
    """Return whether the loss is plain cross-entropy of class labels."""
    plain = loss is None or (isinstance(loss, nn.CrossEntropyLoss) and loss.weight is None)
    return plain and isinstance(targets, Tensor) and not targets.is_floating_point()
