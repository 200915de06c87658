"""Examples that come again with another target, as where inputs are shuffled and labels are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradflow.arrays import Floats
from gradflow.findings.thresholds import CONFLICT_EXAMPLES, EQUAL_ROWS, SAME_TARGETS
from gradflow.results.watching import ConflictFacts
from gradflow.watching.calls import Calls

#: Recorded steps that are looked at, from the first.
STEPS = 400
#: Rows of each batch: the first few, for time.
ROWS = 16
#: Entries up to which a row is compared in whole.
WHOLE = 128
#: Entries of a longer row that are compared; all others count by their sum.
PLACES = 32


class Conflicts:
    """Keeps a few entries of the first rows of each batch, and their targets, on their device."""

    def __init__(self) -> None:
        self._seen: list[tuple[list[Tensor], Tensor]] = []  # rows of the inputs, targets
        self._tries = 0

    @property
    def wanted(self) -> bool:
        """Whether further batches are looked at."""
        return self._tries < STEPS

    def take(self, calls: Calls) -> None:
        """Take a batch that the model learnt from: one call of it, and one of a loss."""
        self._tries += 1
        if len(calls.criteria) != 1 or calls.count != 1 or not calls.inputs:
            self._tries += 9  # of another kind of training: soon given up
            return
        call = calls.criteria[0]
        target = call.target
        if target is None or call.reduction == "none" or target.dim() == 0:
            return
        rows = len(target)
        if rows < 2 or any(not _has_rows(t, rows) for t in calls.inputs):
            return
        kept = [part for t in calls.inputs for part in _kept(t.detach(), rows)]
        targets, few = target.detach(), min(rows, ROWS)
        short = targets.numel() <= WHOLE * rows
        targets = targets.narrow_copy(0, 0, few) if short else _number_each(targets[:few])
        self._seen.append((kept, targets))

    def found(self) -> ConflictFacts | None:
        """Return how many examples came again, and how many of them with another target."""
        if not self._seen:
            return None
        whole = all(not t.is_floating_point() for _, t in self._seen)
        steps = np.repeat(np.arange(len(self._seen)), [len(t) for _, t in self._seen])
        keys = _keys([kept for kept, _ in self._seen])
        targets = torch.cat([_number_each(t).double() for _, t in self._seen]).cpu().numpy()
        if _repeats_within(keys, steps) > EQUAL_ROWS or (whole and _all_differ(targets, steps)):
            return None
        order = np.lexsort((steps, keys))
        keys, targets = keys[order], targets[order]
        again = keys[1:] == keys[:-1]
        examples = len(np.unique(keys[1:][again]))
        if examples < CONFLICT_EXAMPLES:
            return None
        pairs = targets[:-1][again], targets[1:][again]
        if whole:
            return ConflictFacts(examples, float((pairs[0] != pairs[1]).mean()), _chance(targets))
        return ConflictFacts(examples, _unlike(*pairs), 1.0)


def _has_rows(tensor: Tensor, rows: int) -> bool:
    """Return whether a tensor has so many rows that can be cut out."""
    return tensor.layout is torch.strided and tensor.dim() > 0 and len(tensor) == rows


def _kept(inputs: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Return a copy of the first rows if they are short; of long ones some entries, and the sum.

    Those are the same only of the same row.
    """
    few = min(rows, ROWS)
    if inputs.numel() <= WHOLE * rows:
        copied = inputs.narrow_copy(0, 0, few)
        return (copied if copied.dim() == 2 else copied.view(few, -1),)
    flat = inputs[:few].reshape(few, -1)
    return flat[:, :: flat.shape[1] // PLACES][:, :PLACES].clone(), flat.sum(1, True)


def _keys(seen: list[list[Tensor]]) -> Any:
    """Return a number for every row seen, the same for equal ones."""
    wide = [torch.cat([part.double() for part in taken], 1) for taken in seen]
    if len({part.shape[1] for part in wide}) > 1:  # sequences of changing lengths
        most = max(part.shape[1] for part in wide)
        wide = [torch.nn.functional.pad(part, (0, most - part.shape[1])) for part in wide]
    rows = np.ascontiguousarray(torch.cat(wide).cpu().numpy())
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _number_each(target: Tensor) -> Tensor:
    """Return a number for each target: a class, or a random sum of its entries."""
    flat = target.reshape(len(target), -1)
    if flat.shape[1] == 1:
        return flat[:, 0]
    return flat.double() @ torch.linspace(0.5, 1.5, flat.shape[1], device=flat.device).double()


def _repeats_within(keys: Any, steps: Any) -> float:
    """Return which share of the rows is equal to another of its batch."""
    both = np.stack([keys, steps])
    return float(1 - np.unique(both, axis=1).shape[1] / both.shape[1])


def _all_differ(targets: Floats, steps: Any) -> bool:
    """Return whether every target is another one's, as the places in a batch are."""
    both = np.stack([targets, steps])
    return bool(np.unique(both, axis=1).shape[1] == both.shape[1])


def _chance(targets: Floats) -> float:
    """Return how often two of these classes differ, drawn by chance."""
    _, counts = np.unique(targets, return_counts=True)
    return 1 - float(np.square(counts / counts.sum()).sum())


def _unlike(first: Floats, second: Floats) -> float:
    """Return 1 less the correlation of two targets of one example; 0 where most are the same."""
    if not first.std() or not second.std() or (first == second).mean() > SAME_TARGETS:
        return 0.0
    return 1 - float(np.corrcoef(first, second)[0, 1])
