"""Plain numbers of a tensor, and samples of large ones."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gradflow.results.facts import TensorFacts

#: Entries of a tensor that are looked at.
MOST_ENTRIES = 2**16
#: Entries that are searched for values that are not finite.
_MOST_SEARCHED = 2**24
#: How many times as large as all others a number is that stands for a missing one.
_FAR = 100
#: Rows and columns of a matrix in which copies are looked for.
_FEWEST_ROWS, _MOST_ROWS, _MOST_COLUMNS = 8, 64, 4096
#: Values that are told apart.
_MOST_VALUES = 4096


def looked_at(tensor: Tensor, most: int = MOST_ENTRIES) -> Tensor:
    """Return the tensor, or rows of it at equal distances, of each no more than fits."""
    tensor = tensor.detach()
    if tensor.numel() <= most or tensor.dim() == 0:
        return tensor
    row = max(tensor.numel() // len(tensor), 1)
    rows = max(min(len(tensor), most // row), min(len(tensor), 16))
    tensor = tensor[:: math.ceil(len(tensor) / rows)]
    if tensor.numel() <= most or tensor.dim() < 2:
        return tensor[:most] if tensor.dim() < 2 else tensor
    flat = tensor.flatten(1)
    return flat[:, :: math.ceil(flat.numel() / most)]


def real(tensor: Tensor) -> Tensor:
    """Return the numbers in float32, or float64 where they were that."""
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def number(tensor: Tensor) -> float | None:
    """Return a 0-d tensor as a number; None where it is not finite."""
    value = float(tensor)
    return value if math.isfinite(value) else None


def tensor_facts(tensor: Tensor, *, mask: bool = True) -> TensorFacts:
    """Return a tensor's numbers.

    Parameters
    ----------
    mask
        Whether -∞ may be a mask, and is no fault.
    """
    integer = not (tensor.is_floating_point() or tensor.is_complex())
    shape = tuple(tensor.shape)
    nonfinite = 0 if integer else _nonfinite(tensor, mask)
    values = real(looked_at(tensor))
    if nonfinite:
        values = values.nan_to_num(0.0, 0.0, 0.0)
    if values.numel() == 0:
        return TensorFacts(shape, integer, nonfinite)
    low, high = torch.aminmax(values)
    columns = channels(values).double() if values.dim() else values.double()
    several = values.dim() > 0 and len(values) > 1
    return TensorFacts(
        shape,
        integer,
        nonfinite,
        low=number(low),
        high=number(high),
        **_moments(columns),
        values=_values(values),
        sentinel=None if integer else _sentinel(values, max(-float(low), float(high))),
        **(_over_examples(columns) if several else {}),
    )


def _moments(wide: Tensor) -> dict[str, float | None]:
    mean, root = wide.mean(), math.sqrt(wide.numel())
    return {
        "mean": number(mean),
        "std": number(torch.linalg.vector_norm(wide - mean) / root),
        "rms": number(torch.linalg.vector_norm(wide) / root),
    }


def rms(values: Tensor) -> Tensor:
    """Return the root mean square of all entries."""
    return values.square().mean().sqrt()


def deviations(columns: Tensor) -> Tensor:
    """Return the standard deviation of each column; a fraction of the time that torch's takes."""
    return (columns - columns.mean(0)).square_().mean(0).sqrt_()


def _sentinel(values: Tensor, largest: float) -> float | None:
    """Return a whole number that comes several times, and is far greater than all other entries."""
    if not largest.is_integer():  # as nearly always
        return None
    size = values.abs()
    there = size == largest
    count, rest = int(there.sum()), float(size.masked_fill(there, 0).max())
    if count < 2 or 2 * count > values.numel():
        return None
    signed = values[there]
    if not 0 < rest * _FAR <= largest < math.inf or bool((signed != signed[0]).any()):
        return None
    return float(signed[0])


def copied_columns(tensor: Tensor) -> tuple[int, int] | None:
    """Return two columns of a matrix that are equal in every row, and not constant."""
    rows, columns = tensor.shape if tensor.dim() == 2 else (0, 0)
    if rows < _FEWEST_ROWS or not 2 <= columns <= _MOST_COLUMNS or not tensor.is_floating_point():
        return None
    values = tensor.detach()[:_MOST_ROWS]
    order = values[0].argsort(stable=True)
    pairs = values[:, order[1:]] == values[:, order[:-1]]
    apart = values[:, order[1:]] != values[:1, order[1:]]
    found = (pairs.all(0) & apart.any(0)).nonzero()
    if not len(found):
        return None
    place = int(found[0])
    first, second = sorted((int(order[place]), int(order[place + 1])))
    return first, second


def _nonfinite(tensor: Tensor, mask: bool) -> int:
    if tensor.numel() > _MOST_SEARCHED:
        tensor = looked_at(tensor, _MOST_SEARCHED)
    tensor = tensor.detach()
    if bool(torch.isfinite(tensor.sum())):  # one pass, and nearly always the last
        return 0
    wrong = ~torch.isfinite(tensor)
    if mask and not tensor.is_complex():
        wrong &= tensor != -torch.inf
    return int(wrong.sum())


def _values(values: Tensor) -> int | None:
    """How many different values there are among the first few thousand."""
    return len(np.unique(values.flatten()[:_MOST_VALUES].cpu().numpy()))


def _over_examples(columns: Tensor) -> dict[str, float | None]:
    """What the features of the examples have in common; pixels of one channel are one feature."""
    mean, std = columns.mean(0), deviations(columns)
    tiny = 1e-7 * torch.maximum(columns.amax(0), -columns.amin(0))
    return {
        "offset": number(rms(mean)),
        "spread": number(rms(std)),
        "constant_share": number((std <= tiny).double().mean()),
    }


def channels(values: Tensor) -> Tensor:
    """Return the entries as rows of features: of images, the channels; of sequences, the last."""
    if values.dim() < 3:
        return values.reshape(len(values), -1)
    if values.dim() == 3:
        return values.reshape(-1, values.shape[-1])
    return values.movedim(1, -1).reshape(-1, values.shape[1])
