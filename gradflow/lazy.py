"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import importlib
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
