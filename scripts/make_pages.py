"""Run the programs of the findings' pages, write what they print, and make docs/findings from them.

The pages are `gradflow/findings/pages/CODE.md`. A ```python block is a program and the ```text
block beneath it what it prints; a ```console block holds commands, run in a folder where the
program above lies as `train.py`. Blocks that begin ```console recorded took too long to run each
time, or print times.

    python scripts/make_pages.py [CODE ...]            # run, write pages and docs/findings
    python scripts/make_pages.py --check [CODE ...]    # print what differs; write nothing
    python scripts/make_pages.py --recorded [CODE ...] # the recorded blocks as well
    python scripts/make_pages.py --docs                # docs/findings alone, nothing is run
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from gradflow.cli.app import app
from gradflow.findings.codes import CODES
from gradflow.findings.explain import SECTIONS, explain, section, source

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "gradflow" / "findings" / "pages"
DOCS = ROOT / "docs" / "findings"
INDEX = ROOT / "docs" / "findings.md"
ENVIRONMENT = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
sys.path.insert(0, str(ROOT / "scripts"))
import make_docs  # noqa: E402

#: A program, or none, and what it or the commands beneath it print.
BLOCK = re.compile(
    r"(?:^```python\n(?P<program>.*?)^```\n\n)?"
    r"^```(?P<kind>text|console)(?P<recorded> recorded)?\n(?P<output>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Program(NamedTuple):
    """What a page runs: a program, or commands, or commands on a program."""

    code: str
    section: str
    program: str
    commands: tuple[str, ...]
    output: str
    recorded: bool


def programs(code: str) -> Iterator[Program]:
    """Yield what a page runs, in order."""
    for title in SECTIONS:
        for match in BLOCK.finditer(section(source(code), title)):
            yield _program(code, title, match)


def _program(code: str, title: str, match: re.Match[str]) -> Program:
    commands = re.findall(r"^\$ (.*)", match["output"], flags=re.MULTILINE)
    recorded = bool(match["recorded"])
    return Program(code, title, match["program"] or "", tuple(commands), match["output"], recorded)


def printed(program: Program) -> str:
    """Run a program, or the commands on it, in a folder of its own; return what it prints."""
    if not program.commands:
        return _run(program.program, program.code)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.py").write_text(program.program, encoding="utf-8")
        return "".join(f"$ {line}\n{_output_of(line, folder)}" for line in program.commands)


def _run(program: str, code: str) -> str:
    """Run a program here, as torch takes seconds to load."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, which differ from version to version
        exec(compile(program, f"{code}.py", "exec"), {"__name__": "__main__"})
    return _trimmed(said.getvalue())


def _output_of(command: str, folder: Path) -> str:
    """Run a command: here where it is gradflow's own, as torch takes seconds to load."""
    name, *arguments = shlex.split(command)
    if name != "gradflow" or arguments[0] in ("benchmark", "watch"):  # what starts processes
        return make_docs.output_of(command, folder)
    return _trimmed(CliRunner().invoke(app, arguments, env=ENVIRONMENT).output)


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def found(output: str) -> set[str]:
    """Return the codes of the findings that an output shows."""
    return set(re.findall(r"^[✗!·] ([a-z-]+):", output, flags=re.MULTILINE))


def rewritten(code: str, recorded: bool) -> str:
    """Return a page with what its programs print today."""

    def rerun(match: re.Match[str]) -> str:
        program = _program(code, "", match)
        if program.recorded and not recorded:
            return match[0]
        start, today = time.perf_counter(), printed(program)
        print(f"{time.perf_counter() - start:5.1f} s  {code}", flush=True)
        head = match[0][: match.start("output") - match.start()]
        return f"{head}{today}```"

    return BLOCK.sub(rerun, (SOURCES / f"{code}.md").read_text(encoding="utf-8"))


def doc(code: str) -> str:
    """Return a page as the docs show it: thresholds filled in, other codes linked."""
    page = explain(code).page
    near = section(page, "See also")
    linked = re.sub(
        r"`([a-z-]+)`", lambda m: f"[{m[0]}]({m[1]}.md)" if m[1] in CODES else m[0], near
    )
    return page.replace(near, linked)


def paged() -> tuple[str, ...]:
    """Return the codes that have a page: all, unless one is being written."""
    return tuple(code for code in CODES if (SOURCES / f"{code}.md").exists())


def index() -> str:
    """Return the list of all pages."""
    lines = [
        "# Findings\n",
        "Every finding has a code and a page. `gradflow explain CODE` prints the page,",
        "`gradflow explain --list` this list. An error makes a network or a run unhealthy and can",
        "be its verdict; a warning does not; an info is context. The pages are made by",
        "`scripts/make_pages.py`; what their programs print is run, not typed.\n",
        "| code | severity | what it says |",
        "|---|---|---|",
    ]
    for name in paged():
        code = CODES[name]
        severity = ", ".join((code.severity, *code.also))
        lines.append(f"| [`{name}`](findings/{name}.md) | {severity} | {code.summary} |")
    return "\n".join(lines) + "\n"


def documents() -> dict[Path, str]:
    """Return every file of the docs that is made of pages, with its text."""
    return {INDEX: index()} | {DOCS / f"{code}.md": doc(code) for code in paged()}


def write_docs() -> None:
    """Make docs/findings anew."""
    DOCS.mkdir(exist_ok=True)
    made = documents()
    for old in set(DOCS.glob("*.md")) - set(made):
        old.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


def check(codes: tuple[str, ...], recorded: bool) -> int:
    """Print where a page and what its programs print today differ; return in how many they do."""
    stale = 0
    for program in (program for code in codes for program in programs(code)):
        if program.recorded and not recorded:
            continue
        today = printed(program)
        equal = make_docs.same("", today, program.output)
        stale += not equal
        print(f"{'same   ' if equal else 'differs'}  {program.code}: {program.section}", flush=True)
        if not equal:
            lines = (text.splitlines() for text in (program.output, today))
            print("\n".join(difflib.unified_diff(*lines, "page", "today", n=0, lineterm="")))
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(f"differs  {path.relative_to(ROOT)}: --docs makes it anew")
    return stale


def main() -> int:
    """Do what the command line asks for; return its exit code."""
    parser = argparse.ArgumentParser(description="Run the programs of the findings' pages.")
    parser.add_argument("codes", nargs="*", metavar="CODE")
    parser.add_argument("--check", action="store_true", help="print what differs, write nothing")
    parser.add_argument("--docs", action="store_true", help="docs/findings alone")
    parser.add_argument("--recorded", action="store_true", help="the recorded blocks as well")
    asked = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    codes = tuple(asked.codes) or paged()
    if asked.check:
        return int(check(codes, asked.recorded) > 0)
    if not asked.docs:
        for code in codes:
            (SOURCES / f"{code}.md").write_text(rewritten(code, asked.recorded), encoding="utf-8")
    write_docs()
    return 0


if __name__ == "__main__":
    sys.exit(main())
