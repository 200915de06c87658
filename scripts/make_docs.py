"""Run the commands shown in README.md and docs/, and write or check what stands beneath them.

A fenced block that begins ```console holds commands (lines that begin with "$ ") and their
output. Blocks that begin ```console recorded took too long to run each time, print times, or print
digits that each machine rounds in its own way.
Pictures are made by the commands themselves (-o).

    python scripts/make_docs.py [FILE.md ...]           # write what is printed today
    python scripts/make_docs.py --check [FILE.md ...]   # print what differs; write nothing
    python scripts/make_docs.py --recorded --check      # the recorded blocks as well
    python scripts/make_docs.py --figures               # make the pictures again, and no more
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```console(?P<recorded> recorded)?\n(?P<body>.*?)^```$", re.DOTALL | re.M)
ENVIRONMENT = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
#: Commands that only numpy and the standard library calculate: the same text on any machine.
EXACT = re.compile(r"(COLUMNS=\d+ )?gradflow (eval|chain|plot|explain|benchmark --from)\b")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
BARS = re.compile(r"[▏▎▍▌▋▊▉█]+")


class Shown(NamedTuple):
    """A command on a page, with what the page shows beneath it."""

    page: Path
    command: str
    output: str
    recorded: bool


def parts(body: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block's body, each with the output beneath it."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def shown(pages: tuple[Path, ...] = PAGES) -> Iterator[Shown]:
    """Yield every command of the pages."""
    for page in pages:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            for command, output in parts(block["body"]):
                yield Shown(page, command, output, bool(block["recorded"]))


def trimmed(text: str) -> str:
    """Return the text without spaces at the ends of its lines, and without lines of progress."""
    lines = (line.rstrip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if not line.startswith("… "))


def output_of(command: str, folder: Path = ROOT) -> str:
    """Return what a command prints to standard output and error, as a terminal would show it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**ENVIRONMENT, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return trimmed(done.stdout)


def last_place(number: str) -> float:
    """Return one unit of a number's last printed place: 0.01 for 1.25, 100 for 1.25e4."""
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(f"1e{int(exponent or 0) - decimals}")


def close(one: str, other: str) -> bool:
    """Whether two printed numbers differ by one unit of their last place at most.

    A product of float32 matrices is summed in an order that depends on the processor. That moves
    a magnitude by some 1e-5 of itself: it can change how the last printed digit is rounded, and
    no more.
    """
    unit = max(last_place(one), last_place(other))
    return abs(float(one) - float(other)) <= 1.01 * unit


def same(command: str, printed: str, expected: str) -> bool:
    """Whether a command prints what a page shows.

    Words are compared letter by letter. So are the numbers of commands that calculate in numpy;
    those of the others may differ in the last place. Times are not compared.
    """
    if EXACT.match(command):
        return printed == expected
    if words(printed) != words(expected):
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True)
    return "--time" in command or all(close(one, other) for one, other in pairs)


def words(text: str) -> list[str]:
    """Return a text's words, with a sign in the place of numbers and bars, and no rules."""
    return NUMBER.sub("#", BARS.sub(" ", text)).replace("─", "").split()


def stage(folder: Path) -> Path:
    """Fill a folder with what the commands read, so that what they write is thrown away."""
    (folder / "docs" / "images").mkdir(parents=True)
    for name in ("benchmarks", "scripts", "docs/runs", "docs/examples"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    shutil.copy(ROOT / "README.md", folder)
    return folder


def check(pages: tuple[Path, ...], recorded: bool) -> int:
    """Print where a page and what is printed today differ; return how many commands do."""
    stale = 0
    for page, command, output, slow in shown(pages):
        if slow and not recorded:
            continue
        with tempfile.TemporaryDirectory() as folder:
            printed = output_of(command, stage(Path(folder)))
        equal = same(command, printed, output)
        stale += not equal
        print(f"{'same   ' if equal else 'differs'}  {page.name}: {command}", flush=True)
        if not equal:
            lines = (text.splitlines() for text in (output, printed))
            print("\n".join(difflib.unified_diff(*lines, "page", "today", n=0, lineterm="")))
    return stale


def figures(pages: tuple[Path, ...]) -> None:
    """Run the commands that make pictures of the docs, in place."""
    for command in dict.fromkeys(s.command for s in shown(pages) if "docs/images/" in s.command):
        print(f"{command}", flush=True)
        output_of(command)


def rewrite(pages: tuple[Path, ...], recorded: bool) -> None:
    """Write what is printed today into the pages."""

    def rerun(match: re.Match[str]) -> str:
        if match["recorded"] and not recorded:
            return match[0]
        body = "".join(f"$ {c}\n{output_of(c)}" for c, _ in parts(match["body"]))
        return f"```console{match['recorded'] or ''}\n{body}```"

    for page in pages:
        page.write_text(BLOCK.sub(rerun, page.read_text(encoding="utf-8")), encoding="utf-8")
        print(page, flush=True)


def main() -> int:
    """Do what the command line asks for; return its exit code."""
    parser = argparse.ArgumentParser(description="Write or check the commands shown in the docs.")
    parser.add_argument("pages", nargs="*", type=Path, metavar="FILE.md")
    parser.add_argument("--check", action="store_true", help="print what differs, write nothing")
    parser.add_argument("--figures", action="store_true", help="make the pictures again")
    parser.add_argument("--recorded", action="store_true", help="the recorded blocks as well")
    asked = parser.parse_args()
    pages = tuple(asked.pages) or PAGES
    if asked.check:
        return int(check(pages, asked.recorded) > 0)
    if asked.figures:
        figures(pages)
    else:
        rewrite(pages, asked.recorded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
