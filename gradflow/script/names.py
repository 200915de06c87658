"""What a program calls its models."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from torch import Tensor, nn

from gradflow.script.discovery import WRAPPED
from gradflow.script.endings import is_own

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
        file = frame.f_code.co_filename
        if "site-packages" not in file and not is_own(file):
            own = dict(frame.f_locals)
            yield own
            if isinstance(attributes := getattr(own.get("self"), "__dict__", None), dict):
                yield {**attributes, **attributes.get("_modules", {})}
        frame = frame.f_back


def tensor_names(tensors: Sequence[Tensor], frame: FrameType | None) -> list[str]:
    """Return what a program calls its tensors: variables, or numbers where they have none."""
    scopes = list(_scopes(frame))
    names: list[str] = []
    for number, tensor in enumerate(tensors):
        known = (_variable(scope, tensor) for scope in scopes)
        name = next(filter(None, known), f"parameter{number}").replace(".", "_")
        names.append(name if name not in names else f"{name}_{number}")
    return names


def _variable(scope: dict[str, Any], thing: nn.Module | Tensor) -> str | None:
    found = [n for n, value in scope.items() if value is thing and n not in ("self", "_")]
    return next((n for n in found if not n.startswith("_")), found[0] if found else None)
