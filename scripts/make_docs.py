"""Run every command shown in README.md and docs/, and write what it prints beneath it.

A fenced block that begins ```console holds commands (lines that begin with "$ ") and their
output; this script replaces the output. Blocks that begin ```console recorded are left alone:
they took too long to run each time. Pictures are made by the commands themselves (-o).

    python scripts/make_docs.py [FILE.md ...]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ENVIRONMENT = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def commands(block: str) -> list[str]:
    """Return the command lines of a block's body."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def output_of(command: str) -> str:
    """Return what a command prints to standard output and error, as a terminal would show it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        env={**ENVIRONMENT, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def rerun(match: re.Match[str]) -> str:
    """Return the block with fresh output."""
    parts = [f"$ {command}\n{output_of(command)}" for command in commands(match[1])]
    return f"```console\n{''.join(parts)}```"


def main(arguments: list[str]) -> None:
    """Rewrite the files named, or all of them."""
    files = [Path(a) for a in arguments] or [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    for file in files:
        old = file.read_text(encoding="utf-8")
        file.write_text(BLOCK.sub(rerun, old), encoding="utf-8")
        print(f"{file}: {len(BLOCK.findall(old))} blocks")


if __name__ == "__main__":
    main(sys.argv[1:])
