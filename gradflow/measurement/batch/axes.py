"""Where the examples of a batch lie in a tensor, by its shape alone."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

from gradflow.results.facts import MixingFacts

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Neutral:
    """A tensor that does not depend on the inputs, as far as is known."""


@dataclass(frozen=True)
class One:
    """A tensor of single examples: of those from the first to the last of these numbers."""

    first: int
    last: int


@dataclass(frozen=True)
class Lost:
    """A tensor each entry of which depends on many examples: there is no axis of them."""

    mixing: MixingFacts


@dataclass(frozen=True)
class Lying:
    """A tensor each entry of which belongs to one example.

    Attributes
    ----------
    shape
        Its own.
    stride, count
        Entry i of the flattened tensor belongs to example ``i // stride % count``: a view keeps
        that, whatever shape it gives.
    mixing
        What made it depend on other examples as well.
    """

    shape: Shape
    stride: int
    count: int
    mixing: MixingFacts | None = None

    @classmethod
    def at(cls, like: Lying, shape: Shape, axis: int, inner: int = 1) -> Lying:
        """Return one of another shape, whose examples lie on an axis.

        Parameters
        ----------
        inner
            Entries of that axis in a row that belong to one example.
        """
        stride = inner * math.prod(shape[axis + 1 :])
        return cls(shape, stride, like.count, like.mixing)

    def viewed(self, shape: Shape) -> Lying:
        """Return the same entries in another shape."""
        return Lying(shape, self.stride, self.count, self.mixing)

    @functools.cached_property
    def place(self) -> tuple[int, int] | None:
        """The axis of the examples, and how many entries of it in a row are of one; None: many."""
        below = 1
        for axis in reversed(range(len(self.shape))):
            above = below * self.shape[axis]
            if self.stride < above:
                inner, rest = divmod(self.stride, below)
                whole = not rest and inner and self.shape[axis] % (inner * self.count) == 0
                return (axis, inner) if whole else None
            below = above
        return None

    @property
    def axis(self) -> int | None:
        """The axis that holds the examples and nothing else."""
        place = self.place
        if place is None or self.shape[place[0]] != self.count:
            return None
        return place[0]

    @property
    def torn(self) -> bool:
        """Whether a row holds parts of several examples, where each was meant to be one.

        That examples come in equal groups, as (8, 4, …) of 32, is none of it.
        """
        if self.place is not None:
            return False
        return self.shape[0] == self.count or self._crooked

    @property
    def _crooked(self) -> bool:
        """Whether a row of the tensor begins in the middle of an example, or ends there."""
        below = 1
        for size in reversed(self.shape[1:]):
            below *= size
            if self.stride < below < self.stride * self.count:
                examples, rest = divmod(below, self.stride)
                if rest or self.count % examples:
                    return True
            elif below % self.stride and self.stride % below:
                return True
        return False

    def broadcast(self, shape: Shape) -> Lying | None:
        """Return it in the shape that it is broadcast to."""
        if self.shape == shape:
            return self
        place, more = self.place, len(shape) - len(self.shape)
        if place is None or more < 0 or shape[place[0] + more] != self.shape[place[0]]:
            return None
        return Lying.at(self, shape, place[0] + more, place[1])


@dataclass(frozen=True)
class Pairs:
    """Scores of pairs of examples: those of one on the second axis, of the other on the last."""

    of: Lying


#: What is known of a tensor; None where nothing is.
State = Neutral | One | Lost | Lying | Pairs | None


def joined(states: list[State], shape: Shape) -> State:
    """Return what is made of tensors entry by entry.

    That something of all examples is added to each, or taken off, as a normalisation does, leaves
    them where they lie.
    """
    known = [s for s in states if not isinstance(s, Neutral)]
    if not known:
        return Neutral()
    if any(s is None for s in known):
        return None
    lying = [s for s in known if isinstance(s, Lying)]
    ones = [s for s in known if isinstance(s, One)]
    pairs = [s for s in known if isinstance(s, Pairs)]
    if ones:
        together = One(min(s.first for s in ones), max(s.last for s in ones))
        return together if len(ones) == len(known) else None
    if pairs:
        return pairs[0] if len(known) == 1 and pairs[0].of.shape == shape else None
    return _aligned(lying, shape) if lying else known[0]


def _aligned(lying: list[Lying], shape: Shape) -> Lying | None:
    wide = [one.broadcast(shape) for one in lying]
    same = {None if one is None else (one.stride, one.count) for one in wide}
    if len(same) > 1 or wide[0] is None:
        return None
    mixing = next((one.mixing for one in wide if one is not None and one.mixing), None)
    return wide[0] if wide[0].mixing is mixing else replace(wide[0], mixing=mixing)
