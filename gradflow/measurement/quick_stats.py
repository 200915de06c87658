"""Statistics of one float32 tensor on a CPU, in a tenth of the time of sums in float64.

Sums run in float32 over parts of which they are right to 1e-7, then in float64 over the parts.
Where float32 would lose something, all of it runs in float64 as for any other tensor.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from gradflow.measurement.stats import EXAMPLES, TensorStats, example_spread, token_spread

#: Entries whose squares are summed in float32 at once.
_PART = 2**15
#: Between these a sum of squares in float32 is exact to its rounding: no square of an entry that
#: counts is lost.
SAFE = (1e-30, 1e30)
#: Below this share a difference of two sums in float32 is taken in float64 instead.
CANCELS = 0.01


def is_quick(values: Tensor) -> bool:
    """Return whether this is one plain float32 tensor, (1, …), on a CPU."""
    plain = values.is_cpu and values.dtype is torch.float32 and values.layout is torch.strided
    return plain and type(values) in (Tensor, torch.nn.Parameter) and len(values) == 1


class QuickStats:
    """What `TensorStats` gives for a (1, …) float32 tensor on a CPU, as Python's own numbers.

    Each is taken when it is asked for.

    Parameters
    ----------
    lasting
        Whether they are a parameter's: NumPy must not see those, since memory that it has seen
        can never be resized.
    """

    def __init__(self, values: Tensor, *, lasting: bool = False) -> None:
        self._values = values.detach() if values.requires_grad else values
        self._lasting = lasting
        self._flat = _in_memory_order(self._values)
        self._size = self._flat.numel()

    @functools.cached_property
    def _exact(self) -> TensorStats:
        return TensorStats(self._values)

    @functools.cached_property
    def mean(self) -> float:
        """The mean."""
        total = self._flat.sum().item()
        return _over(total, self._size) if math.isfinite(total) else self._exact.mean.item()

    @functools.cached_property
    def norm(self) -> float:
        """The L2 norm."""
        square = sum_of_squares(self._flat) if self._lasting else _square(self._flat)
        if SAFE[0] < square < SAFE[1]:
            return math.sqrt(square)
        if square == 0 and self.abs_max == 0:  # behind a weight that starts at 0
            return 0.0
        return self._exact.norm.item()

    @property
    def variance(self) -> float:
        """The variance."""
        square = _over(self.norm**2, self._size)
        if square == 0:
            return 0.0
        variance = square - self.mean**2
        return variance if variance > CANCELS * square else self._exact.variance.item()

    @property
    def rms(self) -> float:
        """The root mean square."""
        return self.norm / math.sqrt(self._size) if self._size else math.nan

    @property
    def mean_abs(self) -> float:
        """The mean magnitude."""
        total = sum(part.abs().sum().item() for part in torch.split(self._flat, _PART))
        return _over(total, self._size) if math.isfinite(total) else self._exact.mean_abs.item()

    @functools.cached_property
    def abs_max(self) -> float:
        """The largest magnitude."""
        if not self._size:
            return self._exact.abs_max.item()
        values = self._flat.numpy()
        return max(abs(float(values.max())), abs(float(values.min())))

    @property
    def zero_fraction(self) -> float:
        """The share of entries that are 0."""
        return 1 - _over(int(np.count_nonzero(self._flat.numpy() != 0)), self._size)

    @property
    def nonfinite_count(self) -> float:
        """The number of entries that are not finite."""
        if math.isfinite(self.norm):
            return 0.0
        return float(self._size - np.count_nonzero(np.isfinite(self._flat.numpy())))

    @property
    def example_spread(self) -> float:
        """The share of the mean square that differs between examples."""
        share = self._apart(self._values, self.norm, 1)
        return example_spread(self._values.double()).item() if share is None else share

    @property
    def token_spread(self) -> float:
        """The share of the mean square that differs between the tokens of some examples."""
        some = self._values[:, :EXAMPLES]
        whole = some.shape[1] == self._values.shape[1]
        norm = self.norm if whole else QuickStats(some).norm
        share = self._apart(some, norm, 2)
        return token_spread(some).item() if share is None else share

    def _apart(self, values: Tensor, norm: float, axis: int) -> float | None:
        """The share of the mean square that is not that of the means over an axis.

        None where it is small, so that a difference would leave little more than rounding.
        """
        square = norm**2
        if not 0 < square < math.inf:
            return None
        means = _square(values.mean(axis).reshape(-1))
        share = 1 - means * values.shape[axis] / square
        return share if share > CANCELS else None


def sum_of_squares(flat: Tensor, at_once: int = _PART) -> float:
    """Return the sum of the squares of a float32 tensor, (entries,), on a CPU.

    Parameters
    ----------
    at_once
        Entries that are summed in float32.
    """
    if len(flat) <= at_once:
        return torch.dot(flat, flat).item()
    return sum(torch.dot(part, part).item() for part in torch.split(flat, at_once))


def _square(flat: Tensor) -> float:
    """Return the same by NumPy, whose calls cost a fraction of torch's."""
    if len(flat) <= _PART:  # of one part torch is as fast
        return sum_of_squares(flat)
    values = flat.numpy()
    parts = (values[start : start + _PART] for start in range(0, len(values), _PART))
    with np.errstate(all="ignore"):  # a sum that overflows is summed again
        return sum(float(part.dot(part)) for part in parts)


def _in_memory_order(values: Tensor) -> Tensor:
    """The entries as they lie in memory, if nothing is between them: no statistic minds."""
    if not values.is_contiguous() and torch.ops.aten.is_non_overlapping_and_dense(values):
        return values.as_strided((values.numel(),), (1,))
    return values.reshape(-1)


def _over(total: float, size: int) -> float:
    return total / size if size else math.nan
