"""How much what a model returns differs between the examples of a batch."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.arrays import Floats
from gradflow.measurement.norms import Numbers, as_tensor
from gradflow.watching.nonfinite import layers_of

#: Entries of an example that are read.
ENTRIES = 1024


@torch.no_grad()
def spread(values: Tensor | None) -> Numbers | None:
    """Return two numbers: the rms of what differs between examples, and the rms of the values.

    None of a single example, of what is no number, and of a sparse matrix.
    """
    if values is None or values.dim() == 0 or len(values) < 2 or values.is_complex():
        return None
    if values.layout is not torch.strided:  # a graph's edges, say: rows of no example
        return None
    rows = values.detach().reshape(len(values), -1)
    rows = rows[:, :: max(1, rows.shape[1] // ENTRIES)].double()
    if rows.is_cpu:  # NumPy's calls cost a fraction of torch's
        numbers = rows.numpy()
        with np.errstate(all="ignore"):
            return array("d", [_rms(numbers - numbers.mean(0)), _rms(numbers)])
    apart = (rows - rows.mean(0)).square().mean().sqrt()
    return torch.stack([apart, rows.square().mean().sqrt()])


def _rms(numbers: Floats) -> float:
    flat = torch.from_numpy(numbers.reshape(-1))  # NumPy's threads would be in the way of torch's
    return float(np.sqrt(torch.dot(flat, flat).item() / numbers.size))


@torch.no_grad()
def inner_spreads(loss: Tensor, named: Mapping[str, nn.Parameter]) -> dict[str, float]:
    """Return how much the input of each layer in a loss's graph differs between its rows.

    As a share of its size, by the layer's name, of the call where it is largest. Waits for a
    device.
    """
    found: dict[str, float] = {}
    for _, name, inputs in layers_of(loss, {id(p): n for n, p in named.items()}):
        for values in inputs:
            numbers = spread(values)
            if numbers is not None:
                apart, size = as_tensor(numbers).tolist()
                found[name] = max(found.get(name, 0.0), apart / size if size else 0.0)
    return found
