"""Small samples of one shape are measured together: one call for many costs little more than one.

A sample's replicas are independent of each other, so samples of several layers stand side by side
as replicas do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gradflow.measurement.quantities import QUANTITIES, Sample, measured
from gradflow.measurement.records import LayerRecord

#: From (samples, …) to the sample that quantities are measured from.
Prepared: TypeAlias = "Callable[[Tensor], Sample]"

#: Entries up to which a sample waits for others, and of all that wait.
_SMALL, _WAITING = 2**15, 2**16


@dataclass
class _Waiting:
    record: LayerRecord
    values: Tensor
    prepared: Prepared


@dataclass
class Together:
    """Samples that wait for others of their shape.

    Parameters
    ----------
    only
        Quantities that are asked for; None: all.
    """

    only: Collection[str] | None = None
    _groups: dict[Any, list[_Waiting]] = field(default_factory=dict)
    _entries: int = 0

    def add(
        self,
        record: LayerRecord,
        source: str,
        values: Tensor,
        prepared: Prepared = Sample,
        key: Any = (),
        *,
        lasting: bool = False,
    ) -> None:
        """Have a sample of a layer measured, (1, …): at once if it is large.

        Parameters
        ----------
        prepared
            Makes the sample.
        key
            By which samples that are prepared in one way are known; None: there is no other.
        lasting
            Whether the values stay as they are until `flush`.
        """
        if not QUANTITIES.of(source, self.only):
            return
        if key is None or values.numel() > _SMALL:
            record.add(source, prepared(values), self.only)
            return
        self._entries += values.numel()
        group = (source, key, values.shape, values.dtype, values.device)
        own = values.detach() if lasting else values.detach().clone()
        self._groups.setdefault(group, []).append(_Waiting(record, own, prepared))
        if self._entries > _WAITING:
            self.flush()

    def flush(self) -> None:
        """Measure all that waits."""
        groups, self._groups, self._entries = self._groups, {}, 0
        for (source, *_), same in groups.items():
            sizes = [waiting.values.numel() for waiting in same]
            found = measured(source, same[0].prepared(_joined(same)), self.only)
            parts = {
                name: value.view(-1, 1).unbind() if isinstance(value, Tensor) else [value]
                for name, value in found.items()
            }
            for place, (waiting, size) in enumerate(zip(same, sizes, strict=True)):
                own = {name: part[place] for name, part in parts.items()}
                waiting.record.merge(source, own, size)


def _joined(same: list[_Waiting]) -> Tensor:
    """Return the samples side by side, which are not held any longer."""
    if len(same) == 1:
        return same[0].values
    values = torch.cat([waiting.values for waiting in same])
    for waiting in same:
        waiting.values = values
    return values
