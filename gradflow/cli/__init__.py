"""The command line: thin commands that parse, call, and hand the result to a view."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. Ctrl-C is 130 from here on, while it is being loaded as well."""
    try:
        from gradflow.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()
