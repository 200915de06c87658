"""Layers in a figure: their names at an axis, and which of them are joined by a line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axis import Axis

from gradflow.arrays import Integers
from gradflow.report.escape import visible
from gradflow.report.figures import page
from gradflow.results.names import Named, all_numbered, shortened

#: Names that an axis has room for, and the letters of each.
MOST, LETTERS = 24, 26
#: Layers from which a role is a line of its own.
_LEAST = 2


class Line(NamedTuple):
    """Layers that do the same in different places: their role, and their places in the rows."""

    role: str
    places: Integers


def lines(rows: Sequence[Named]) -> tuple[list[Line], Integers]:
    """Return the layers to be joined, role by role, and the places of those that are alone.

    One line of all where roles do not alternate: convolutions, then dense layers, are one way.
    """
    found = _roles([row.name for row in rows])
    groups = page.by_key(range(len(found)), found.__getitem__)
    joined = [Line(role, np.array(at)) for role, at in groups.items() if len(at) >= _LEAST]
    runs = sum(one != other for one, other in pairwise(found)) + 1
    if len(joined) < 2 or runs < len(groups) + len(joined):
        return [Line("", np.arange(len(rows)))], np.array([], dtype=np.int64)
    alone = [at[0] for at in groups.values() if len(at) < _LEAST]
    return joined, np.array(alone, dtype=np.int64)


def role_words(joined: Sequence[Line], letters: int) -> list[str]:
    """Return the roles without what all begin with, cut to so many letters."""
    split = [line.role.split(".") for line in joined]
    same = next((i for i, words in enumerate(zip(*split, strict=False)) if len(set(words)) > 1), 0)
    return shortened([".".join(words[same:]) or ".".join(words) for words in split], letters)


def _roles(names: Sequence[str]) -> list[str]:
    """Names with a star for the one number under which most of them are alike: its block's."""
    choices = [
        [name[: n.start()] + "*" + name[n.end() :] for n in re.finditer(r"\d+", name)] or [name]
        for name in names
    ]
    counts = Counter(role for roles in choices for role in roles)
    return [max(roles, key=counts.__getitem__) for roles in choices]


def names_at(axis: Axis, rows: Sequence[Named], places: Sequence[float], **look: Any) -> bool:
    """Write layers' names along an axis, all or every so many; return whether there are any.

    Names that count the layers say no more than numbers do, and numbers are written.
    """
    if all_numbered(rows):
        page.whole_numbers(axis)
        return False
    step = -(-len(rows) // MOST)
    labels = [_label(row, name) for row, name in zip(rows, short(rows), strict=True)]
    axis.set_ticks(places[::step], labels[::step], parse_math=False, **look)
    return True


def _label(row: Named, name: str) -> str:
    """Return a layer's number and its name; of a name that is a number, the name alone."""
    return name if name.isdecimal() else f"{row.index} {name}"


def short(rows: Sequence[Named]) -> list[str]:
    """Return the layers' names, cut to the room that there is."""
    return shortened([visible(row.name) for row in rows], LETTERS)
