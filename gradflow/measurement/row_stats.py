"""Statistics of many replicas' float32 tensors on a CPU, without a copy in float64.

Sums run in float32 over blocks of which they are right to 1e-7, then in float64 over the blocks.
Replicas of which float32 would lose something are summed in float64, as any other tensor is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from gradflow.measurement.quick_stats import CANCELS, SAFE
from gradflow.measurement.stats import TensorStats, example_spread, l2_norm

#: Entries that are summed in float32 at once.
_BLOCK = 512
#: Entries of all replicas up to which a copy in float64 stays in the cache, and costs no more.
_FEW = 2**17


def has_row_stats(values: Tensor) -> bool:
    """Return whether these are large float32 tensors of several replicas, (replicas, …)."""
    several = len(values) > 1 and values.numel() > _FEW
    return several and values.is_cpu and values.dtype is torch.float32


class RowStats(TensorStats):
    """What `TensorStats` gives for such tensors; each (replicas,)."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(values)
        self._values = values.detach()

    @cached_property
    def mean(self) -> Tensor:
        """The mean."""
        blocks, rest = _blocks(self._flat)
        total = blocks.sum(2).double().sum(1) + rest.sum(1)
        wrong = ~total.isfinite()  # float32 may have overflowed
        size = self._flat.shape[1]
        return _again(total / size, wrong, lambda: TensorStats(self._flat[wrong]).mean)

    @cached_property
    def norm(self) -> Tensor:
        """The L2 norm."""
        return block_norms(self._flat)

    @property
    def variance(self) -> Tensor:
        """The variance."""
        square = self._mean_square
        variance = square - self.mean.square()
        lost = _cancelled(variance, square)
        return _again(variance, lost, lambda: TensorStats(self._flat[lost]).variance)

    @property
    def example_spread(self) -> Tensor:
        """The share of the mean square that differs between examples."""
        examples, square = self._values.shape[1], self.norm.square()
        means = block_norms(self._values.flatten(2).mean(1)).square()
        apart = square - means * examples
        lost = _cancelled(apart, square)
        share = torch.where(square == 0, 0.0, apart / square)
        return _again(share, lost, lambda: example_spread(self._values[lost]))


def block_norms(rows: Tensor) -> Tensor:
    """Return the L2 norm of each row of (replicas, entries), float32, summed block by block."""
    blocks, rest = _blocks(rows)
    square = torch.linalg.vector_norm(blocks, 2, 2).double().square_().sum(1)
    if rest.shape[1]:
        square += torch.linalg.vector_norm(rest, 2, 1).double().square_()
    lost = ~((square > SAFE[0]) & (square < SAFE[1]))
    return _again(square.sqrt_(), lost, lambda: l2_norm(rows[lost]))


def _blocks(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(replicas, blocks, entries), and the (replicas, entries) that fill no block."""
    count = rows.shape[1] // _BLOCK
    whole = count * _BLOCK
    return rows[:, :whole].view(len(rows), count, _BLOCK), rows[:, whole:]


def _cancelled(difference: Tensor, total: Tensor) -> Tensor:
    """Where a difference of two sums in float32 leaves little more than rounding."""
    return ~(difference > CANCELS * total) & (total != 0)


def _again(values: Tensor, wrong: Tensor, exact: Callable[[], Tensor]) -> Tensor:
    """Return the values with those that are wrong taken again."""
    if wrong.any():
        values[wrong] = exact()
    return values
