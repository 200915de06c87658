"""Whether the gradients that a step meets still hold those of the step before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from gradflow.measurement.norms import Numbers, read_norms

#: Parameters that are looked at.
PROBES = 8

#: What tells whether a gradient was changed or replaced.
Mark = tuple[int, int]


class Staleness:
    """Follows a few gradients from the end of one step to the next.

    A gradient is stale if nothing but backward passes changed it in between: nobody set it to None,
    and nobody set it to 0.
    """

    def __init__(self) -> None:
        self._probes: list[nn.Parameter] = []
        self._marks: list[Mark | None] = []
        self._untouched: list[bool] = []
        self._added: list[bool] = []
        self._left: Numbers | None = None

    def begin(self, parameters: Iterable[nn.Parameter]) -> None:
        """Begin where a step ended."""
        with_gradient = [p for p in parameters if type(p.grad) is Tensor]
        self._probes = with_gradient[:: max(1, len(with_gradient) // PROBES)][:PROBES]
        self._marks = [mark(p) for p in self._probes]
        self._untouched = [True] * len(self._probes)
        self._added = [False] * len(self._probes)
        self._left = None

    @property
    def on(self) -> bool:
        """Whether a step is looked at."""
        return bool(self._probes)

    def end(self) -> None:
        """Look at nothing until the next `begin`."""
        self._probes, self._marks, self._left = [], [], None
        self._untouched, self._added = [], []

    def before_pass(self) -> None:
        """See what was changed since the step, or the backward pass, before."""
        if not self._probes:
            return
        now = [mark(p) for p in self._probes]
        same = [n is not None and n == m for n, m in zip(now, self._marks, strict=True)]
        self._untouched = [a and b for a, b in zip(self._untouched, same, strict=True)]
        if self._left is None and any(self._untouched):
            # `p.grad.data.zero_()` leaves no trace but the value.
            self._left = read_norms(
                [p.grad if u else None for p, u in zip(self._probes, self._untouched, strict=True)]
            )

    def after_pass(self) -> None:
        """See what this backward pass added to."""
        now = [mark(p) for p in self._probes]
        for place, (new, old) in enumerate(zip(now, self._marks, strict=True)):
            self._added[place] |= new != old
        self._marks = now

    def found(self) -> Numbers | None:
        """Return the norms of what was left of the last step, of a step under way; −∞ for none."""
        if not any(u and a for u, a in zip(self._untouched, self._added, strict=True)):
            return None
        return self._left if self._probes else None


def mark(parameter: nn.Parameter) -> Mark | None:
    """Return what tells whether a parameter's gradient was changed or replaced; None of none."""
    gradient: Any = parameter.grad
    return None if gradient is None else (id(gradient), gradient._version)
