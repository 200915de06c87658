"""Norms of many tensors in one fused call, of whole ones where they are shards; no host sync."""

from __future__ import annotations

import itertools
import math
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gradflow.measurement.quick_stats import SAFE, sum_of_squares
from gradflow.measurement.stats import accumulator

#: (n,): numbers on their device; Python's own from a CPU, where they are read for free.
Numbers: TypeAlias = "Tensor | array[float]"


def as_tensor(numbers: Numbers) -> Tensor:
    """Return `numbers` as a tensor, where they are."""
    if isinstance(numbers, Tensor):
        return numbers
    return torch.from_numpy(np.array(numbers, dtype=np.float64))


def divided(numbers: Numbers, scale: Tensor | float) -> Numbers:
    """Return `numbers` over one number."""
    if isinstance(numbers, Tensor):
        return numbers / scale
    return array("d", (number / float(scale) for number in numbers))


def norms(tensors: Sequence[Tensor | None]) -> Tensor:
    """Return what `read_norms` does, as a tensor."""
    return as_tensor(read_norms(tensors))


def read_norms(tensors: Sequence[Tensor | None]) -> Numbers:
    """Return the L2 norm of each tensor, summed in float64 where it matters; −∞ for None.

    A DTensor's norm is that of the whole tensor: one all-reduce per kind of placement, in which
    every process has to take part.
    """
    there = [t for t in tensors if t is not None]
    found: Numbers
    if _are_quick(there):
        found = _quick(there, _squares(there))
    elif all(type(t) in _PLAIN and t.layout == torch.strided for t in there):
        found = _wide(there)
    else:
        found = _reduced(_wide([_local(t) for t in there]), there)
    return found if len(there) == len(tensors) else _placed(found, tensors)


class NormReader(threading.local):
    """Returns what `read_norms` does, of tensors of the same shapes again and again.

    The small ones are copied into memory that is kept for it: new memory takes as long again.
    """

    def __init__(self) -> None:
        self._kinds: list[Any] = []
        self._packed: _Packed | None = None

    def read(self, tensors: Sequence[Tensor | None]) -> Numbers:
        """Return the norm of each; −∞ for None."""
        there = [t for t in tensors if t is not None]
        kinds = [(type(t), t.dtype, t.layout, t.is_cpu, t.shape) for t in there]
        if kinds != self._kinds:
            self._kinds, self._packed = kinds, _packed(there)
        if self._packed is None:
            return read_norms(tensors)
        found = _quick(there, self._packed.squares(there))
        return found if len(there) == len(tensors) else _placed(found, tensors)


class _Packed:
    """Memory for copies of small tensors, one behind the other; larger ones stay outside."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        sizes = [t.numel() for t in tensors]
        self._small = [place for place, size in enumerate(sizes) if 0 < size <= _SMALL]
        self._large = [place for place, size in enumerate(sizes) if not 0 < size <= _SMALL]
        small = [sizes[place] for place in self._small]
        with torch.inference_mode(False):
            memory = torch.empty(sum(small))
        parts = zip(self._small, torch.split(memory, small), strict=True)
        self._parts = [part.view(tensors[place].shape) for place, part in parts]
        self._flat, self._starts = memory.numpy(), np.cumsum([0, *small[:-1]])

    @torch.no_grad()
    def squares(self, tensors: Sequence[Tensor]) -> list[float]:
        """Return the sums of their squares."""
        flat = self._flat
        torch._foreach_copy_(self._parts, [tensors[place] for place in self._small])
        with np.errstate(all="ignore"):  # a sum that overflows is summed again
            np.multiply(flat, flat, out=flat)
            found: list[float] = np.add.reduceat(flat, self._starts).tolist()
        for place in self._large:
            found.insert(place, _square(tensors[place]))
        return found


def _packed(tensors: Sequence[Tensor]) -> _Packed | None:
    """Return memory for the small ones; None where they are few or take much of it."""
    small = [t.numel() for t in tensors if 0 < t.numel() <= _SMALL]
    fits = len(small) > 1 and sum(small) <= _KEPT
    return _Packed(tensors) if fits and _are_quick(tensors) else None


def _placed(found: Numbers, tensors: Sequence[Tensor | None]) -> Numbers:
    if isinstance(found, array):
        numbers = iter(found)
        return array("d", (-math.inf if t is None else next(numbers) for t in tensors))
    places = [i for i, t in enumerate(tensors) if t is not None]
    full = torch.full((len(tensors),), -torch.inf, dtype=found.dtype, device=found.device)
    full[torch.tensor(places, dtype=torch.long, device=found.device)] = found
    return full


def _are_quick(tensors: Sequence[Tensor]) -> bool:
    return _QUICK.issuperset([(type(t), t.dtype, t.layout, t.is_cpu) for t in tensors])


#: Neither shards nor anybody's subclass.
_PLAIN = {Tensor, torch.nn.Parameter}
#: What is summed in float32 if possible.
_QUICK = {(kind, torch.float32, torch.strided, True) for kind in _PLAIN}
#: Entries whose squares are summed in float32 at once: of these a sum is right to 1e-7, of 10⁷ to
#: 1e-3. What is left is summed in float64.
_CHUNK = 2**18
#: Entries up to which a copy costs less than calls of torch for one tensor alone.
_SMALL = 2**13
#: Entries of such copies, about, that are held at once.
_TOGETHER = 2**16
#: Entries of such copies for which memory is kept.
_KEPT = 2**18


def _quick(tensors: Sequence[Tensor], squares: Sequence[float]) -> array[float]:
    """Take the roots of sums in float32, where that is exact."""
    if squares and SAFE[0] < min(squares) and max(squares) < SAFE[1]:  # a NaN may be there
        return array("d", map(math.sqrt, squares))
    return array("d", map(_root, squares, tensors))


def _root(square: float, tensor: Tensor) -> float:
    """Return the norm of a tensor whose square was summed in float32."""
    if SAFE[0] < square < SAFE[1]:
        return math.sqrt(square)
    if square == 0 and tensor.numel() and not any(torch.aminmax(tensor)):
        return 0.0  # in a fraction of the time: zero gains are common at the start
    return _wide([tensor]).item()


@torch.no_grad()
def _squares(tensors: Sequence[Tensor]) -> list[float]:
    """Return the sums of the squares of float32 tensors on a CPU."""
    sizes = [t.numel() for t in tensors]
    if sum(sizes) <= _TOGETHER and max(sizes, default=0) <= _SMALL:
        return _squares_in_one(tensors, sizes)
    small = [(t, size) for t, size in zip(tensors, sizes, strict=True) if size <= _SMALL]
    found = _squares_of_small(small)
    return [
        next(found) if size <= _SMALL else _square(t)
        for t, size in zip(tensors, sizes, strict=True)
    ]


def _square(tensor: Tensor) -> float:
    return sum_of_squares(tensor.reshape(-1), _CHUNK)


def _squares_of_small(tensors: Sequence[tuple[Tensor, int]]) -> Iterator[float]:
    """Yield what `_square` returns of each tensor, given with its size."""
    ends = itertools.accumulate(size for _, size in tensors)
    pairs = zip(tensors, ends, strict=True)
    for _, some in itertools.groupby(pairs, lambda pair: pair[1] // _TOGETHER):
        part = [pair for pair, _ in some]
        yield from _squares_in_one([t for t, _ in part], [size for _, size in part])


def _squares_in_one(tensors: Sequence[Tensor], sizes: Sequence[int]) -> list[float]:
    """Copy several tensors into one: numpy's calls cost a fraction of torch's.

    Not on the tensors themselves, whose memory could not be resized any more.
    """
    if len(tensors) < 2:
        return [_square(t) for t in tensors]
    flat, start, found = torch._C._nn.flatten_dense_tensors(list(tensors)).numpy(), 0, []
    with np.errstate(all="ignore"):  # a sum that overflows is summed again
        for size in sizes:
            part = flat[start : (start := start + size)]
            found.append(float(part.dot(part)))
    return found


@torch.no_grad()
def _wide(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors:
        return torch.empty(0, dtype=torch.float64)
    device = tensors[0].device
    real = [torch.view_as_real(t) if t.is_complex() else t for t in tensors]
    found = torch._foreach_norm(real, 2, dtype=accumulator(device))
    return torch.stack([n.to(device) for n in found])  # a model may lie on several


@torch.no_grad()
def row_norms(rows: Tensor) -> Numbers:
    """Return the L2 norm of each row of (rows, entries), of few entries, as `read_norms` does."""
    if rows.device.type == "cpu" and rows.dtype == torch.float32:
        found = array("d", torch.linalg.vector_norm(rows, dim=1).tolist())
        if all(SAFE[0] < norm * norm < SAFE[1] for norm in found):
            return found
    wide: Tensor = torch.linalg.vector_norm(rows, 2, dim=1, dtype=accumulator(rows.device))
    return wide


def norm(tensor: Tensor) -> Numbers:
    """Return the L2 norm of one tensor, (1,), as `read_norms` does."""
    tensor = tensor.detach()
    if tensor.device.type == "cpu" and tensor.dtype == torch.float32:
        return _quick([tensor], _squares([tensor]))
    wide: Tensor = torch.linalg.vector_norm(tensor, 2, dtype=accumulator(tensor.device))
    return wide.reshape(1)


def _local(tensor: Tensor) -> Tensor:
    if tensor.is_sparse:
        return tensor.coalesce().values()
    to_local: Any = getattr(tensor, "to_local", None)
    if to_local is None:
        return tensor
    local: Tensor = to_local()
    return local


def _reduced(found: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Sum the squares of shards over the processes that hold them."""
    groups: dict[tuple[Any, tuple[int, ...]], list[int]] = {}
    for index, tensor in enumerate(tensors):
        whole: Any = tensor
        if hasattr(whole, "placements"):
            dims = tuple(d for d, p in enumerate(whole.placements) if p.is_shard())
            groups.setdefault((whole.device_mesh, dims), []).append(index)
    for (mesh, dims), indices in groups.items():
        places = torch.tensor(indices, device=found.device)
        squares = found[places].square()
        for dim in dims:
            torch.distributed.all_reduce(squares, group=mesh.get_group(dim))
        found[places] = squares.sqrt()
    return found


def differences(new: Sequence[Tensor], old: Sequence[Tensor]) -> list[Tensor]:
    """Return old − new, shard by shard, in the memory of `old`: new memory costs as much again."""
    with torch.no_grad():
        torch._foreach_sub_(list(old), list(new))
    return list(old)


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return copies that a later step does not change."""
    return [t.detach().clone() for t in tensors]
