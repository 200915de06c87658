"""One JSON document per result; non-finite numbers as the contract's strings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gradflow.results.base import Result, plain

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dumps(result: Result) -> str:
    """Return the document as text that ends with a newline."""
    document = _encode(plain(result.to_dict()))
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def loads(text: str) -> Result:
    """Return the result that `dumps` wrote.

    Raises
    ------
    ValueError
        If it is not such a document.
    """
    return Result.from_dict(_decode(json.loads(text)))


def write(result: Result, path: Path) -> None:
    """Write the document to `path`."""
    path.write_text(dumps(result), encoding="utf-8")


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items()}
    return [_encode(v) for v in value] if isinstance(value, list) else value


def _decode(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {k: _decode(v) for k, v in value.items()}
    return [_decode(v) for v in value] if isinstance(value, list) else value
