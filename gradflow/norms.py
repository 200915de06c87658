"""Norms of many tensors in one fused call, of whole ones where they are shards; no host sync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradflow.stats import accumulator


def norms(tensors: Sequence[Tensor | None]) -> Tensor:
    """Return the L2 norm of each tensor, summed in float64; −∞ for None.

    A DTensor's norm is that of the whole tensor: one all-reduce per kind of placement, in which
    every process has to take part.

    Returns
    -------
    Tensor
        (tensors,), on their device.
    """
    there = [t for t in tensors if t is not None]
    if not there:
        return torch.full((len(tensors),), -torch.inf, dtype=torch.float64)
    wide = accumulator(there[0].device)
    if {type(t) for t in there} <= _PLAIN and not any(t.is_sparse for t in there):
        found = _fused(there, wide)
    else:
        found = _reduced(_fused([_local(t) for t in there], wide), there)
    if len(there) == len(tensors):
        return found
    places = [i for i, t in enumerate(tensors) if t is not None]
    full = torch.full((len(tensors),), -torch.inf, dtype=wide, device=found.device)
    full[torch.tensor(places, device=found.device)] = found
    return full


#: Between these a norm summed in float32 is exact to its rounding: no square of an entry that
#: counts is lost.
_SAFE = (1e-15, 1e15)


@torch.no_grad()
def _fused(tensors: list[Tensor], wide: torch.dtype) -> Tensor:
    """Return the norms, summed in float64 where float32 might lose a square.

    On a CPU a number is read for free, and sums in float32 take a sixth of the time.
    """
    if tensors[0].device.type == "cpu" and {t.dtype for t in tensors} == {torch.float32}:
        found = torch.stack(torch._foreach_norm(tensors, 2))
        low, high = (float(limit) for limit in found.aminmax())
        if _SAFE[0] < low and high < _SAFE[1]:
            return found.to(wide)
    return torch.stack(torch._foreach_norm(tensors, 2, dtype=wide))


def norm(tensor: Tensor) -> Tensor:
    """Return the L2 norm of one tensor, as `norms` does, in float32 where that is exact."""
    tensor = tensor.detach()
    if tensor.device.type == "cpu" and tensor.dtype == torch.float32:
        found: Tensor = torch.linalg.vector_norm(tensor)
        if _SAFE[0] < float(found) < _SAFE[1]:
            return found
    wide: Tensor = torch.linalg.vector_norm(tensor, 2, dtype=accumulator(tensor.device))
    return wide


#: Neither shards nor anybody's subclass.
_PLAIN = {Tensor, torch.nn.Parameter}


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
    """Return new − old, shard by shard, as tensors of the same kind."""
    with torch.no_grad():
        return list(torch._foreach_sub(list(new), list(old)))


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return copies that a later step does not change."""
    return [t.detach().clone() for t in tensors]
