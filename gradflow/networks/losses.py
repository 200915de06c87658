"""Losses of built-in networks by name: every example's own, for all replicas at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gradflow.arrays import Floats
from gradflow.errors import named

_SAMPLES = 20_000


@dataclass(frozen=True)
class Loss:
    """A loss of class labels.

    Attributes
    ----------
    each
        (logits (replicas, examples, classes), labels (examples,)) -> every example's loss.
    constant_logit
        Share of a class -> logit of the best answer that does not look at its input.
    output_delta
        (variance of Gaussian logits, classes) -> rms of δ at the output, for labels independent of
        them; None: not known, and nothing is predicted.
    answer
        (rows, classes) logits -> what the label is subtracted from in ∂(loss)/∂(logits); None: not
        known.
    """

    each: Callable[[Tensor, Tensor], Tensor]
    constant_logit: Callable[[float], float]
    output_delta: Callable[[float, int], float] | None = None
    answer: Callable[[Floats], Floats] | None = None


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(logits.shape[0]), reduction="none")


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[-1]).to(logits.dtype).expand_as(logits)


def _bce(logits: Tensor, labels: Tensor) -> Tensor:
    target = _one_hot(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)


def _mse(logits: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * (logits - _one_hot(logits, labels)).square().sum(-1)


def _sampled(answer: Callable[[Floats], Floats]) -> Callable[[float, int], float]:
    """Rms of δ = answer − label by Monte Carlo."""

    def rms(q: float, classes: int) -> float:
        rng = np.random.default_rng(0)
        logits = math.sqrt(min(q, 1e300)) * rng.standard_normal((_SAMPLES, classes))
        target = np.eye(classes)[rng.integers(classes, size=_SAMPLES)]
        return float(np.sqrt(np.mean((answer(logits) - target) ** 2)))

    return rms


def _sigmoid(logits: Floats) -> Floats:
    from scipy.special import expit  # a quarter of a second, for one of the losses

    return np.asarray(expit(logits))


def _softmax(logits: Floats) -> Floats:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))


#: name -> loss. ``bce`` is sigmoid outputs with binary cross-entropy summed over them, ``mse`` half
#: the squared distance to the one-hot label. A new one is one entry.
LOSSES: dict[str, Loss] = {
    "cross-entropy": Loss(_cross_entropy, lambda _: 0.0, _sampled(_softmax), _softmax),
    "bce": Loss(_bce, lambda p: math.log(p / (1 - p)), _sampled(_sigmoid), _sigmoid),
    "mse": Loss(
        _mse, lambda p: p, lambda q, classes: math.sqrt(q + 1 / classes), lambda logits: logits
    ),
}


def loss_function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the named loss of every example.

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    return named("loss", name, LOSSES).each
