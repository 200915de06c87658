"""One JSON document per result; non-finite numbers as the contract's strings."""

from __future__ import annotations

import json
from pathlib import Path

from gradflow.results.base import Result, plain
from gradflow.results.decoding import parse
from gradflow.results.nonfinite import encoded


def dumps(result: Result, *, ascii: bool = False) -> str:
    """Return the document as text that ends with a newline; with `ascii` of ASCII alone."""
    document = encoded(plain(result.to_dict()))
    return json.dumps(document, ensure_ascii=ascii, allow_nan=False, indent=1) + "\n"


def loads(text: str) -> Result:
    """Return the result that `dumps` wrote.

    Raises
    ------
    ValueError
        If it is not such a document.
    """
    return Result.from_dict(parse(text))


def write(result: Result, path: Path) -> None:
    """Write the document to `path`."""
    # Half a character, of a path that is no UTF-8, becomes JSON's own escape for it.
    path.write_bytes(dumps(result).encode("utf-8", "backslashreplace"))
