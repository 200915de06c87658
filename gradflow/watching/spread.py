"""How much what a model returns differs between the examples of a batch."""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from gradflow.measurement.norms import Numbers

#: Entries of an example that are read.
ENTRIES = 1024


@torch.no_grad()
def spread(values: Tensor | None) -> Numbers | None:
    """Return two numbers: the rms of what differs between examples, and the rms of the values.

    None of a single example, and of what is no number.
    """
    if values is None or values.dim() == 0 or len(values) < 2 or values.is_complex():
        return None
    rows = values.detach().reshape(len(values), -1)
    rows = rows[:, :: max(1, rows.shape[1] // ENTRIES)].double()
    apart = (rows - rows.mean(0)).square().mean().sqrt()
    both = torch.stack([apart, rows.square().mean().sqrt()])
    return array("d", both.tolist()) if both.is_cpu else both
