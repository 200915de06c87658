"""A user's program, run as it is: every model that an optimizer trains in it is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradflow.lazy import of_run

if TYPE_CHECKING:
    from gradflow.script.run import watch_script

__all__ = ["watch_script"]

__getattr__ = of_run(__name__, __all__)
