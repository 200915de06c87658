"""Record commands as a picture of a terminal: run them, and write what they print as an SVG.

    python scripts/make_terminal.py OUT.svg COMMAND [COMMAND …]

    python scripts/make_terminal.py docs/images/terminal.svg \
        "python docs/examples/list_of_layers.py" "gradflow watch docs/examples/list_of_layers.py"

The picture holds no font and asks no network: a code host shows it with the reader's own
monospaced font, and every piece of text has its width with it.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 80
ENVIRONMENT = {"COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}


def printed(command: str) -> str:
    """Return what a command prints to standard output, colours included."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **ENVIRONMENT, "PATH": path}
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def picture(commands: list[str]) -> str:
    """Return the SVG of a terminal in which the commands were run."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for command in commands:
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text.from_ansi(printed(command)))
    svg = console.export_svg(title="gradflow", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(sys.argv[2:]), encoding="utf-8")
