"""What is not done before it is needed: names are loaded when first used, memory is left."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def loader(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package, for names by the modules that they stand in."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return load


def of_run(room: str, names: list[str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a room whose names stand in its module ``run``.

    So that the checks beside it need the standard library alone.
    """
    return loader(room, dict.fromkeys(names, f"{room}.run"))


def leave_memory() -> None:
    """Spare Python the search for what nobody needs, as it exits: most of a second with torch.

    But not where triton is loaded, which calls all that is left to it a leak, on 40 lines.
    """
    if "triton" not in sys.modules:
        gc.freeze()
