"""What other packages add by entry points: looked for when it is needed, and never a crash.

The groups are ``gradflow.activations``, ``gradflow.checks`` and ``gradflow.policies``.
Standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any


@functools.cache
def points(group: str) -> dict[str, str]:
    """Return what installed packages add to a group: ``module:attribute`` by name."""
    from importlib import metadata

    return {point.name: point.value for point in metadata.entry_points(group=f"gradflow.{group}")}


def added(group: str) -> Iterator[tuple[str, Any]]:
    """Yield name and object of everything added to a group that can be loaded."""
    from importlib import metadata

    for point in metadata.entry_points(group=f"gradflow.{group}"):
        try:
            yield point.name, point.load()
        except (Exception, SystemExit) as error:  # noqa: PERF203 (a foreign module may do both)
            left_out(group, point.name, error)


def left_out(group: str, name: str, why: object) -> None:
    """Say on stderr, in one line, that something of another package is not used."""
    reason = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else str(why)
    line = " ".join(f"warning: '{name}' of gradflow.{group} is left out: {reason}".split())
    with contextlib.suppress(OSError):  # nobody need read it
        sys.stderr.write("".join(sign if sign.isprintable() else "?" for sign in line) + "\n")
