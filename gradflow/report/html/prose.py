"""The page of a finding as HTML, its headings beneath those of the report."""

from __future__ import annotations

import functools

from markdown_it import MarkdownIt
from markupsafe import Markup

from gradflow.findings.codes import CODES
from gradflow.findings.explain import explain

#: By how many levels a page's headings are lowered: its second is the report's fourth.
_LOWER = 2


@functools.cache
def explained(code: str) -> Markup | None:
    """Return what `gradflow explain` says of a code; None for a code of somebody else's."""
    return prose(explain(code).text, _LOWER) if code in CODES else None


def prose(text: str, lower: int = 0) -> Markup:
    """Return Markdown as HTML, its headings lowered; what is HTML in it stays text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + lower, 6)}"
        if token.type == "fence":
            token.attrSet("tabindex", "0")  # it scrolls, so that a keyboard has to come there
    html = parser.renderer.render(tokens, parser.options, {})
    return Markup(html)
