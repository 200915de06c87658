"""Print docs/reference.md: every command and option, from the command line's own definitions.

python scripts/make_reference.py > docs/reference.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from gradflow.cli.app import app

HEAD = """# Command reference

Made by `python scripts/make_reference.py` from the definitions that `--help` shows; a test keeps
it current. What the JSON fields mean is in [results.md](results.md).
"""


def option_row(parameter: Any) -> str:
    """Return the table row of an option or argument."""
    flags = [*parameter.opts, *parameter.secondary_opts]
    shown = ", ".join(f"`{flag}`" for flag in flags)
    if parameter.param_type_name == "argument":
        shown = f"`{parameter.metavar or parameter.name.upper()}`"
    default = parameter.default
    absent = default is None or default in (False, "", [], ()) or callable(default)
    text = (
        ""
        if absent
        else f"`{' '.join(map(str, default)) if isinstance(default, list | tuple) else default}`"
    )
    return f"| {shown} | {text} | {(parameter.help or '').replace('|', chr(92) + '|')} |"


def reference() -> Iterator[str]:
    """Yield the document's lines."""
    yield HEAD
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield f"## gradflow {name}\n"
        yield f"{command.help}\n"
        yield "| option | default | |\n|---|---|---|"
        for parameter in command.params:
            if parameter.name != "help":
                yield option_row(parameter)
        yield ""


if __name__ == "__main__":
    print("\n".join(reference()).rstrip())
