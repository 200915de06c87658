"""A table of text at a given width: every cell is measured once, then lines are written.

rich's own tables measure and wrap every cell again for each width that is tried, which takes
longer for a few hundred layers than measuring them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from gradflow.report.excerpt import Gap
from gradflow.results.names import shortened

#: Widths that columns of words are wrapped to before a column is given up.
_WRAPS = (10_000, 32, 22)
#: Width that a column of layer names keeps in any case.
_NAME = 20
_SPACE = 3
_BOLD = Style(bold=True)


@dataclass(frozen=True)
class Cells:
    """A column: its heading and the text of every cell.

    Attributes
    ----------
    kind
        ``"number"`` (to the right, never wrapped), ``"words"``, ``"name"`` or ``"bar"``.
    priority
        Columns with the largest go first where the table is too wide; 0 never goes.
    """

    heading: str
    texts: list[str]
    kind: str
    priority: int

    @cached_property
    def natural(self) -> int:
        """Width of the widest cell."""
        return max(map(cell_len, (self.heading, *self.texts)))

    def least(self, wrap: int) -> int:
        """Width where there is little room and words are wrapped at `wrap`."""
        limit = {"words": wrap, "name": max(_NAME, cell_len(self.heading))}
        return min(self.natural, limit.get(self.kind, self.natural))


def fitted(columns: Sequence[Cells], width: int) -> tuple[list[Cells], list[int]]:
    """Return the columns that `width` has room for, and the width of each.

    Names are cut first, then words wrapped, then columns left out.
    """
    kept = list(columns)
    while True:
        for wrap in _WRAPS:
            widths = [column.least(wrap) for column in kept]
            if _total(widths) <= width:
                return kept, _widened(kept, widths, width)
        worst = max(column.priority for column in kept)
        if worst == 0:
            return kept, _squeezed(widths, width)
        del kept[max(i for i, column in enumerate(kept) if column.priority == worst)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _SPACE * (len(widths) - 1)


def _widened(columns: Sequence[Cells], widths: list[int], width: int) -> list[int]:
    """Give the room that is left to the names."""
    for i, column in enumerate(columns):
        if column.kind == "name":
            widths[i] = min(column.natural, widths[i] + width - _total(widths))
    return widths


def _squeezed(widths: list[int], width: int) -> list[int]:
    """Take what is too much from the widest columns; none is left without a letter."""
    while _total(widths) > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def lines(
    columns: Sequence[Cells], widths: Sequence[int], places: Sequence[int | Gap], console: Console
) -> Iterator[Segment]:
    """Yield the table's lines: headings, a rule, then the rows and what stands for others."""
    width = _total(widths)
    for line in _row([column.heading for column in columns], columns, widths, console):
        yield Segment(line, _BOLD)
        yield Segment.line()
    yield Segment(("-" if console.legacy_windows else "─") * width + "\n")
    table = zip(
        *(_texts(column, w) for column, w in zip(columns, widths, strict=True)), strict=True
    )
    for place in places:
        if isinstance(place, Gap):
            written = _wrapped(place.text, width, console)
        else:
            written = _row(next(table), columns, widths, console)
        yield Segment("".join(f"{line}\n" for line in written))


def _texts(column: Cells, width: int) -> list[str]:
    return shortened(column.texts, width) if column.kind == "name" else column.texts


def _row(
    texts: Sequence[str], columns: Sequence[Cells], widths: Sequence[int], console: Console
) -> list[str]:
    """One row: as many lines as its longest cell takes."""
    cells = [_wrapped(text, width, console) for text, width in zip(texts, widths, strict=True)]
    written = []
    for parts in zip_longest(*cells, fillvalue=""):
        line = [_padded(*part) for part in zip(parts, columns, widths, strict=True)]
        written.append((" " * _SPACE).join(line).rstrip())
    return written


def _wrapped(text: str, width: int, console: Console) -> list[str]:
    if cell_len(text) <= width and "\n" not in text:
        return [text]
    return [line.plain.rstrip() for line in Text(text).wrap(console, width, overflow="fold")]


def _padded(text: str, column: Cells, width: int) -> str:
    room = " " * (width - cell_len(text))
    return room + text if column.kind == "number" else text + room
