"""A tensor's statistics per replica, without a host sync."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorStats:
    """Statistics of a (replicas, …) tensor over all but its first axis; each (replicas,).

    Sums run in float64: the square of 0.25⁵⁰ is 0 in float32.
    """

    mean: Tensor
    variance: Tensor
    rms: Tensor
    norm: Tensor
    mean_abs: Tensor
    abs_max: Tensor
    zero_fraction: Tensor
    nonfinite_count: Tensor


def tensor_stats(values: Tensor) -> TensorStats:
    """Return the statistics of `values`, shape (replicas, …)."""
    flat = values.detach().flatten(1)
    count, wide = flat.shape[1], accumulator(values.device)
    mean = flat.sum(1, dtype=wide) / count
    norm = l2_norm(flat)
    mean_square = norm.square() / count
    return TensorStats(
        mean=mean,
        variance=(mean_square - mean.square()).clamp_min(0),
        rms=mean_square.sqrt(),
        norm=norm,
        mean_abs=torch.linalg.vector_norm(flat, 1, 1, dtype=wide) / count,
        abs_max=torch.linalg.vector_norm(flat, torch.inf, 1).to(wide),
        zero_fraction=1 - flat.count_nonzero(1).to(wide) / count,
        nonfinite_count=(~flat.isfinite()).sum(1),
    )


def l2_norm(values: Tensor) -> Tensor:
    """Return the L2 norm of a (replicas, …) tensor per replica, summed in float64."""
    wide = accumulator(values.device)
    norm: Tensor = torch.linalg.vector_norm(values.detach().flatten(1), 2, 1, dtype=wide)
    return norm


def example_spread(values: Tensor) -> Tensor:
    """Return the share of the mean square that differs between examples, per replica.

    0: every example is mapped to the same point; 1: they have nothing in common.

    Parameters
    ----------
    values
        (replicas, examples, …).
    """
    flat = values.detach().flatten(2)
    own, total = l2_norm(flat - flat.mean(1, keepdim=True)), l2_norm(flat)
    return torch.where(total == 0, 0.0, (own / total).square())  # all 0: all the same


#: Examples whose tokens are compared.
_EXAMPLES = 4


def token_spread(values: Tensor) -> Tensor:
    """Return the share of the mean square that differs between the tokens of an example.

    0: all tokens are the same; 1: they have nothing in common. Some examples are looked at.

    Parameters
    ----------
    values
        (replicas, examples, tokens, features).
    """
    some = values.detach()[:, :_EXAMPLES]
    own, total = l2_norm(some - some.mean(2, keepdim=True)), l2_norm(some)
    return torch.where(total == 0, 0.0, (own / total).square())


def accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype that sums run in: float64, but float32 on MPS, which has no other."""
    return torch.float32 if device.type == "mps" else torch.float64
