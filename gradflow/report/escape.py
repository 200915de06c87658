"""Foreign text is text: names of layers, of files and of models, in each place they go to."""

from __future__ import annotations

import unicodedata

#: Categories of characters that a terminal obeys or that turn the writing's direction.
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str, keep: str = "") -> str:
    """Return `text` with control characters written out, as ``\\x1b``; those of `keep` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign
        if sign in keep or unicodedata.category(sign) not in _CONTROLS
        else sign.encode("unicode_escape", "surrogatepass").decode("ascii")
        for sign in text
    )


def markdown(text: str) -> str:
    """Return `text` as it reads in a cell of a Markdown table."""
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("|", "\\|").replace("`", "\\`")


def spreadsheet(text: str) -> str:
    """Return `text` as a cell of CSV that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def script(json: str) -> str:
    """Return JSON that cannot end the script element that it stands in, and means the same."""
    for sign in "<>&\u2028\u2029":
        json = json.replace(sign, f"\\u{ord(sign):04x}")
    return json


def sarif(text: str) -> str:
    """Return `text` as a message of SARIF, in which braces and brackets mark values and links."""
    text = visible(text, keep="\n").replace("{", "{{").replace("}", "}}")
    return text.replace("](", "\\](")
