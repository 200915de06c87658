"""Where the numbers of a run were made. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradflow.configs.fields import MOST
from gradflow.results.decoding import record

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions, machine, and sizes of the data.

    Attributes
    ----------
    data
        Name of the data set.
    sizes
        Images by part: ``train``, ``validation``, ``test``.
    """

    gradflow: str = ""
    python: str = ""
    numpy: str = ""
    torch: str | None = None
    platform: str = ""
    processor: str = ""
    cores: int = 1
    threads: int | None = None
    device: str | None = None
    precision: str | None = None
    cpu_capability: str = ""
    started: str = ""
    data: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    process: int = 0

    @staticmethod
    def read(stored: dict[str, Any]) -> Environment:
        """Return what a file says; what a later version says besides is left out.

        Raises
        ------
        ValueError
            If a value is of another type, or the sizes are none.
        """
        known = {name: stored[name] for name in Environment.__dataclass_fields__ if name in stored}
        environment = record(Environment, known)
        for part in _PARTS:
            least = 0 if part == "validation" else 1
            if not least <= environment.sizes.get(part, -1) <= MOST:
                raise ValueError(f"'sizes' has no '{part}' of at least {least}")
        return environment
