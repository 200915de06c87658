"""What a program calls its models."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from torch import nn

from gradflow.script.discovery import WRAPPED

#: Calls that are searched for a name.
_CALLS = 30


def name_of(line: Sequence[nn.Module], frame: FrameType | None) -> str:
    """Return what a program calls a model: a variable, an attribute of one, or its class.

    Parameters
    ----------
    line
        The model, and the modules that hold it, the nearest first.
    frame
        The call in which it was met.
    """
    scopes = list(_scopes(frame))
    for holder in line:
        name = next(filter(None, (_variable(scope, holder) for scope in scopes)), None)
        if name is not None:
            path = next((p for p, m in holder.named_modules() if m is line[0]), "")
            return ".".join([name, *(w for w in path.split(".") if w and w not in WRAPPED)])
    return type(line[0]).__name__


def _scopes(frame: FrameType | None) -> Iterator[dict[str, Any]]:
    """Yield the program's own variables, then those of its calls that are running."""
    main = sys.modules.get("__main__")
    if main is not None:
        yield dict(vars(main))
    for _ in range(_CALLS):
        if frame is None:
            return
        if "site-packages" not in frame.f_code.co_filename:
            own = dict(frame.f_locals)
            yield own
            if isinstance(attributes := getattr(own.get("self"), "__dict__", None), dict):
                yield {**attributes, **attributes.get("_modules", {})}
        frame = frame.f_back


def _variable(scope: dict[str, Any], module: nn.Module) -> str | None:
    found = [n for n, value in scope.items() if value is module and n not in ("self", "_")]
    return next((n for n in found if not n.startswith("_")), found[0] if found else None)
