"""The command line: thin commands that parse, call, and hand the result to a view."""

from gradflow.cli.app import main

__all__ = ["main"]
