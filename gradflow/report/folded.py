"""Markdown as text for a terminal's width: paragraphs and list items are folded, nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

#: What is kept as it stands: fences with what they hold, headings, rows of tables.
_KEPT = re.compile(r"#|\||$")
_ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")


def folded(page: str, width: int) -> str:
    """Return a page whose paragraphs and list items are no wider than `width`.

    Parameters
    ----------
    page
        Markdown, its programs in fences.
    """
    return "".join(f"{line}\n" for block in _blocks(page) for line in _lines(block, width))


def _blocks(page: str) -> Iterator[str | list[str]]:
    """Yield paragraphs and list items as lists of their lines; what is kept, line by line."""
    block: list[str] = []
    fenced = False
    for line in page.splitlines():
        fence = line.startswith("```")
        kept = fenced or fence or bool(_KEPT.match(line))
        fenced ^= fence
        if block and (kept or _ITEM.match(line)):
            yield block
            block = []
        if kept:
            yield line
        else:
            block.append(line)
    if block:
        yield block


def _lines(block: str | list[str], width: int) -> list[str]:
    if isinstance(block, str):
        return [block]
    item = _ITEM.match(block[0])
    indent = "" if item is None else " " * len(item[0])
    return textwrap.wrap(
        " ".join(line.strip() for line in block),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
