"""Losses of built-in networks by name: every example's own, for all replicas at once."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gradflow.errors import named


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(logits.shape[0]), reduction="none")


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[-1]).to(logits.dtype).expand_as(logits)


def _bce(logits: Tensor, labels: Tensor) -> Tensor:
    target = _one_hot(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)


def _mse(logits: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * (logits - _one_hot(logits, labels)).square().sum(-1)


#: name -> (logits (replicas, examples, classes), labels (examples,)) -> every example's loss.
#: ``bce`` is sigmoid outputs with binary cross-entropy summed over them, ``mse`` half the squared
#: distance to the one-hot label.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "bce": _bce,
    "mse": _mse,
}


def loss_function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the named loss.

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    return named("loss", name, LOSSES)
