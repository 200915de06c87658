"""A tensor's statistics per replica, without a host sync."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class TensorStats:
    """Statistics of a (replicas, …) tensor over all but its first axis; each (replicas,).

    Sums run in float64: the square of 0.25⁵⁰ is 0 in float32. Each is taken when it is asked for.
    """

    def __init__(self, values: Tensor) -> None:
        self._flat = values.detach().flatten(1)
        self._wide = accumulator(values.device)

    @cached_property
    def mean(self) -> Tensor:
        """The mean."""
        mean: Tensor = self._flat.sum(1, dtype=self._wide) / self._flat.shape[1]
        return mean

    @cached_property
    def norm(self) -> Tensor:
        """The L2 norm."""
        return l2_norm(self._flat)

    @cached_property
    def _mean_square(self) -> Tensor:
        mean: Tensor = self.norm.square() / self._flat.shape[1]
        return mean

    @property
    def variance(self) -> Tensor:
        """The variance."""
        return (self._mean_square - self.mean.square()).clamp_min(0)

    @property
    def rms(self) -> Tensor:
        """The root mean square."""
        return self._mean_square.sqrt()

    @property
    def mean_abs(self) -> Tensor:
        """The mean magnitude."""
        total: Tensor = torch.linalg.vector_norm(self._flat, 1, 1, dtype=self._wide)
        return total / self._flat.shape[1]

    @property
    def abs_max(self) -> Tensor:
        """The largest magnitude."""
        largest: Tensor = torch.linalg.vector_norm(self._flat, torch.inf, 1)
        return largest.to(self._wide)

    @property
    def zero_fraction(self) -> Tensor:
        """The share of entries that are 0."""
        return 1 - self._flat.count_nonzero(1).to(self._wide) / self._flat.shape[1]

    @property
    def nonfinite_count(self) -> Tensor:
        """The number of entries that are not finite."""
        return nonfinite_count(self._flat, self.norm)


def tensor_stats(values: Tensor) -> TensorStats:
    """Return the statistics of `values`, shape (replicas, …)."""
    return TensorStats(values)


def nonfinite_count(values: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the number of entries that are not finite, per replica.

    Parameters
    ----------
    total
        A sum over all entries, (replicas,), that is finite only if they are: on a CPU, where it is
        read for free, it spares looking at each.
    """
    flat = values.detach().flatten(1)
    if flat.device.type == "cpu":
        total = flat.sum(1) if total is None else total
        if bool(total.isfinite().all()):
            return torch.zeros(len(flat), dtype=torch.int64)
    return (~flat.isfinite()).sum(1)


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
