"""What `watch` reads of activations and of δ: one table of totals, and one of what they become.

A new quantity is one entry of `SAMPLED`, one of `TOTALS` if it needs another number to be read,
and one column in the rows of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers, row_norms


@dataclass(frozen=True)
class Total:
    """A number of each call of a layer, which adds up over calls.

    Attributes
    ----------
    source
        "activation", "delta", "output" (a layer's own), or "window" of dead units.
    read
        (calls,) of (calls, entries); None: read by other means.
    squared
        Whether it is a norm, whose squares add up and whose mean is the root of their mean.
    """

    source: str
    read: Callable[[Tensor], Numbers] | None = None
    squared: bool = False


def _sums(rows: Tensor) -> Tensor:
    return rows.sum(1)


def _nonzero(rows: Tensor) -> Tensor:
    return rows.sign().abs_().sum(1)


def _nonfinite(rows: Tensor) -> Tensor:
    return (~rows.isfinite()).sum(1)


#: By name.
TOTALS: dict[str, Total] = {
    "activation_sum": Total("activation", _sums),
    "activation_norm": Total("activation", row_norms, squared=True),
    "activation_nonzero": Total("activation", _nonzero),
    "delta_norm": Total("delta", row_norms, squared=True),
    "output_nonfinite": Total("output", _nonfinite),
    "dead": Total("window"),
}

#: Means over the entries of each total, (steps, layers), by name.
Means = Mapping[str, Floats]


@dataclass(frozen=True)
class SampledQuantity:
    """A layer's quantity at every step.

    Attributes
    ----------
    value
        What the means become.
    scaled
        Whether a GradScaler's scale is to be divided out.
    """

    value: Callable[[Means], Floats]
    scaled: bool = False


#: By the name of the row's field; "delta_rms" is shown as a logarithm.
SAMPLED: dict[str, SampledQuantity] = {
    "activation_mean": SampledQuantity(lambda m: m["activation_sum"]),
    "activation_rms": SampledQuantity(lambda m: m["activation_norm"]),
    "zero_fraction": SampledQuantity(lambda m: 1 - m["activation_nonzero"]),
    "delta_rms": SampledQuantity(lambda m: m["delta_norm"], scaled=True),
    "dead_fraction": SampledQuantity(lambda m: m["dead"]),
    "output_nonfinite": SampledQuantity(lambda m: m["output_nonfinite"]),
}


def wide(tensor: Tensor) -> torch.dtype:
    """Return a dtype to sum in."""
    return torch.promote_types(tensor.dtype, torch.float32)
