"""Names of layers: cut to a width so that they can still be told apart. Standard library only."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

_CUT = "…"
#: Width to which a layer's name is cut in a sentence.
IN_WORDS = 40


class Named(Protocol):
    """A row of any result that stands for a layer."""

    @property
    def index(self) -> int:
        """Its number, from 1."""

    @property
    def name(self) -> str:
        """Its name in the model."""


def numbered(name: str, index: int) -> bool:
    """Return whether the name alone says which layer it is, as ``hidden3`` of layer 3 does."""
    return not name.isdigit() and re.findall(r"\d+", name) == [str(index)]


def all_numbered(rows: Iterable[Named]) -> bool:
    """Return whether names make numbers needless: they count the layers up to the output."""
    rows = list(rows)
    return bool(rows) and all(
        numbered(row.name, row.index) or (row.name == "output" and row is rows[-1]) for row in rows
    )


def up_to_number(name: str) -> str:
    """Return the name up to its first number, that included; empty where it has none."""
    found = re.match(r"\D*\d+", name)
    return found[0] if found else ""


def told(row: Named) -> str:
    """Return a layer in words: ``hidden3``, or its number with its name in brackets."""
    if numbered(row.name, row.index):
        return row.name
    return f"layer {row.index} ({shortened([row.name], IN_WORDS)[0]})"


def roles(names: Sequence[str]) -> list[str]:
    """Return the names without their numbers; all the same where too few are alike to compare.

    Layers of one role do the same in different places: ``blocks.*.mlp``, ``blocks.*.q``.
    """
    found = [_without_numbers(name) for name in names]
    alike = sum(found.count(role) * (found.count(role) > 1) for role in set(found))
    return found if alike > len(found) / 2 else [""] * len(found)


@functools.lru_cache(maxsize=4096)
def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "*", name)


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Return the names cut in the middle to at most `width` characters; what differs stays.

    First goes what says nothing: parts between dots that all names with the same beginning have
    in common. Then the rest, down to the letters that tell it from its alternatives.
    """
    if all(len(name) <= width for name in names):
        return list(names)
    parts = _parts(set(names))
    return [name if len(name) <= width else _cut(parts[name], width) for name in names]


class _Part(NamedTuple):
    """What stands between two dots of a name; `start` to `end` tells it from its alternatives."""

    text: str
    start: int
    end: int

    @property
    def least(self) -> int:
        """Length to which it can be cut."""
        head, tail, middle = self.end + 1, len(self.text) - self.start + 1, self.end - self.start
        whole = self.text.isdigit()
        return len(self.text) if whole else min(len(self.text), head, tail, middle + 2)

    def cut(self, length: int) -> str:
        """Return it in so many characters, with the letters that matter."""
        text, start, end = self
        if length >= len(text):
            return text
        head, tail = max(end, length // 2), max(len(text) - start, (length - 1) // 2)
        if head < length:
            return text[:head] + _CUT + text[len(text) - (length - 1 - head) :]
        if tail < length:
            return text[: length - 1 - tail] + _CUT + text[len(text) - tail :]
        return _CUT + text[start : start + length - 2] + _CUT


def _parts(names: set[str]) -> dict[str, list[_Part]]:
    """Every name's parts, each beside what else follows the same beginning."""
    following: dict[tuple[str, ...], set[str]] = {}
    split = {name: name.split(".") for name in names}
    for words in split.values():
        for i, word in enumerate(words):
            following.setdefault(tuple(words[:i]), set()).add(word)
    windows = {start: _windows(words) for start, words in following.items()}
    return {
        name: [_Part(word, *windows[tuple(words[:i])][word]) for i, word in enumerate(words)]
        for name, words in split.items()
    }


def _windows(words: set[str]) -> dict[str, tuple[int, int]]:
    """Which letters tell each word from the others: from its front, or from its back."""
    if len(words) == 1:
        return dict.fromkeys(words, (0, 0))
    front = _fronts(words)
    back = _fronts({word[::-1] for word in words})
    chosen = {}
    for word, (start, end) in front.items():
        first, last = back[word[::-1]]
        mirrored = len(word) - last, len(word) - first
        chosen[word] = (start, end) if end - start <= last - first else mirrored
    return chosen


def _fronts(words: set[str]) -> dict[str, tuple[int, int]]:
    """Where each word begins to differ from any other, and where from all: sorted neighbours."""
    order = sorted(words)
    start = _shared(order[0], order[-1])
    shared = [0, *(_shared(*pair) for pair in pairwise(order)), 0]
    ends = (max(before, after) + 1 for before, after in pairwise(shared))
    return {
        word: (min(start, len(word)), min(end, len(word)))
        for word, end in zip(order, ends, strict=True)
    }


def _shared(one: str, other: str) -> int:
    """Letters that both begin with."""
    differ = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _cut(parts: list[_Part], width: int) -> str:
    lengths = [len(part.text) for part in parts]
    over = sum(lengths) + len(parts) - 1 - width
    for i in sorted(range(len(parts)), key=lambda i: (parts[i].end > 0, -lengths[i])):
        shorter = min(max(parts[i].least, lengths[i] - over), lengths[i])
        over -= lengths[i] - shorter
        lengths[i] = shorter
    text = ".".join(part.cut(length) for part, length in zip(parts, lengths, strict=True))
    text = re.sub(rf"(\.?{_CUT}\.?)+", _CUT, text)  # a.….b says no more than a…b
    return text if len(text) <= width else _Part(text, 0, 0).cut(width)


def called(row: Named) -> str:
    """Return a layer's name; of the model itself, which has none, that of its class."""
    return row.name or getattr(row, "kind", "")
