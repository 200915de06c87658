"""A tensor's statistics per replica, without a host sync."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


class TensorStats:
    """Statistics of a (replicas, …) tensor over all but its first axis; each (replicas,).

    Sums run in float64: the square of 0.25⁵⁰ is 0 in float32. Each is taken when it is asked for.
    """

    def __init__(self, values: Tensor) -> None:
        flat = values.detach().flatten(1)
        self._wide = accumulator(values.device)
        few = flat.device.type == "cpu" and flat.numel() <= _FEW  # a copy is made once for all
        self._flat = flat.double() if few else flat

    @cached_property
    def mean(self) -> Tensor:
        """The mean."""
        total = _by_parts(self._flat, lambda part: part.sum().item())
        total = self._flat.sum(1, dtype=self._wide) if total is None else total
        return total / self._flat.shape[1]

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
        total = _by_parts(self._flat, lambda part: part.abs_().sum().item())
        if total is None:
            total = self._flat.abs().sum(1, dtype=self._wide)
        return total / self._flat.shape[1]

    @property
    def abs_max(self) -> Tensor:
        """The largest magnitude."""
        return largest(self._flat).to(self._wide)

    @property
    def zero_fraction(self) -> Tensor:
        """The share of entries that are 0."""
        return 1 - count_nonzero(self._flat).to(self._wide) / self._flat.shape[1]

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
        if all(map(math.isfinite, total.tolist())):
            return torch.zeros(len(flat), dtype=torch.int64)
    return (~flat.isfinite()).sum(1)


def l2_norm(values: Tensor) -> Tensor:
    """Return the L2 norm of a (replicas, …) tensor per replica, summed in float64."""
    flat = values.detach().flatten(1)
    square = _by_parts(flat, lambda part: torch.dot(part, part).item())
    if square is not None:
        return square.sqrt_()
    norm: Tensor = torch.linalg.vector_norm(flat, 2, 1, dtype=accumulator(values.device))
    return norm


def largest(values: Tensor) -> Tensor:
    """Return the largest magnitude of a (replicas, …) tensor per replica."""
    flat = values.detach().flatten(1)
    if flat.device.type == "cpu" and flat.numel():  # a tenth of the time
        if len(flat) > 1:
            return torch.maximum(flat.amax(1), flat.amin(1).neg_())
        low, high = torch.aminmax(flat)
        return torch.maximum(high, -low).view(1)
    found: Tensor = torch.linalg.vector_norm(flat, torch.inf, 1)
    return found


def count_nonzero(flat: Tensor) -> Tensor:
    """Return how many entries of (replicas, entries) are not 0, or not False, per replica."""
    if flat.device.type != "cpu":
        return flat.count_nonzero(1)
    if flat.dtype == torch.bool:
        there = flat.numpy()
    else:  # NumPy compares in a tenth of the time
        there = flat.numpy() != 0 if flat.dtype in _NUMPYS else (flat != 0).numpy()
    return torch.tensor([np.count_nonzero(row) for row in there])


def below(values: Tensor, limit: Tensor | float) -> Tensor:
    """Return which entries are below a limit, which is one number."""
    if not numpy_has(values):
        return values < limit
    return torch.from_numpy(np.less(values.detach().numpy(), values.numpy().dtype.type(limit)))


def numpy_has(values: Tensor) -> bool:
    """Return whether NumPy can read the values where they are."""
    return values.is_cpu and values.dtype in _NUMPYS


#: What NumPy has too.
_NUMPYS = (torch.float32, torch.float64, torch.float16)


#: Entries of which a copy in float64 costs less than reading them in float32 several times.
_FEW = 2**15
#: Entries of a part, for each thread: what is made of one stays in the cache.
_PART = 2**15


def _by_parts(flat: Tensor, total: Callable[[Tensor], float]) -> Tensor | None:
    """Return the sum of a total in float64 over parts of a large (1, entries) tensor on a CPU.

    A copy of the whole in float64 takes several times as long. None for others.
    """
    size = _PART * torch.get_num_threads()
    if flat.device.type != "cpu" or len(flat) != 1 or flat.numel() <= size:
        return None
    if flat.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return None
    parts = torch.split(flat[0], size)
    return torch.tensor([sum(total(part.double()) for part in parts)], dtype=torch.float64)


def example_spread(values: Tensor, norm: Tensor | None = None) -> Tensor:
    """Return the share of the mean square that differs between examples, per replica.

    0: every example is mapped to the same point; 1: they have nothing in common.

    Parameters
    ----------
    values
        (replicas, examples, …).
    norm
        Their L2 norm, (replicas,), if it is known.
    """
    flat = values.detach().flatten(2)
    own, total = l2_norm(flat - flat.mean(1, keepdim=True)), l2_norm(flat) if norm is None else norm
    return torch.where(total == 0, 0.0, (own / total).square())  # all 0: all the same


#: Examples whose tokens are compared.
EXAMPLES = 4


def token_spread(values: Tensor) -> Tensor:
    """Return the share of the mean square that differs between the tokens of an example.

    0: all tokens are the same; 1: they have nothing in common. Some examples are looked at.

    Parameters
    ----------
    values
        (replicas, examples, tokens, features).
    """
    some = values.detach()[:, :EXAMPLES]
    own, total = l2_norm(some - some.mean(2, keepdim=True)), l2_norm(some)
    return torch.where(total == 0, 0.0, (own / total).square())


def accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype that sums run in: float64, but float32 on MPS, which has no other."""
    return torch.float32 if device.type == "mps" else torch.float64
