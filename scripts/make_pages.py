"""Run the programs of the findings' pages, write what they print, and make docs/findings from them.

The pages are `gradflow/findings/pages/CODE.md`, and docs/scripts-that-do-not-learn.md. A ```python
block is a program and the ```text block beneath it what it prints; a ```console train.py block
beneath it holds commands, run in a folder where the program lies as `train.py`. A ```diff block in
the place of a program changes the program before it. Blocks that begin ```console recorded took too
long to run each time, or print times.

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

#: Pages that show programs and are no finding's, by name.
OTHERS = {"scripts-that-do-not-learn": ROOT / "docs" / "scripts-that-do-not-learn.md"}

#: A program, or none, and what it or the commands beneath it print.
BLOCK = re.compile(
    r"(?:^```(?P<language>python|diff)\n(?P<program>.*?)^```\n\n)?"
    r"^```(?P<kind>text|console)(?: train\.py)?(?P<recorded> recorded)?\n(?P<output>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Program(NamedTuple):
    """What a page runs: a program, or commands, or commands on a program."""

    page: str
    section: str
    program: str
    commands: tuple[str, ...]
    output: str
    recorded: bool


def programs(page: str) -> Iterator[Program]:
    """Yield what a page runs, in order."""
    if page in OTHERS:
        yield from programs_in(OTHERS[page].read_text(encoding="utf-8"), page)
        return
    for title in SECTIONS:
        yield from programs_in(section(source(page), title), page, title)


def programs_in(text: str, page: str, title: str = "") -> Iterator[Program]:
    """Yield what a text runs, in order."""
    last = ""
    for match in BLOCK.finditer(text):
        program = match["program"] or ""
        if match["language"] == "diff":
            program = patched(last, program)
        commands = tuple(re.findall(r"^\$ (.*)", match["output"], flags=re.MULTILINE))
        recorded = bool(match["recorded"])
        yield Program(page, title, program, commands, match["output"], recorded)
        last = program


def patched(program: str, diff: str) -> str:
    """Return a program with the lines of a diff put in the place of those that it takes away.

    Raises
    ------
    ValueError
        If the program does not have these lines, or has them more than once.
    """
    for hunk in re.findall(r"(?:^-.*\n)+(?:^\+.*\n)*", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(x[1:] for x in lines if x[0] == sign) for sign in "-+")
        if program.count(old) != 1:
            raise ValueError(f"the program does not have once:\n{old}")
        program = program.replace(old, new)
    return program


def printed(program: Program) -> str:
    """Run a program, or the commands on it, in a folder of its own; return what it prints."""
    if not program.commands:
        return _run(program.program, program.page)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.py").write_text(program.program, encoding="utf-8")
        return "".join(f"$ {line}\n{_output_of(line, folder)}" for line in program.commands)


def _run(program: str, name: str) -> str:
    """Run a program here, as torch takes seconds to load."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, which differ from version to version
        exec(compile(program, f"{name}.py", "exec"), {"__name__": "__main__"})
    return make_docs.trimmed(said.getvalue())


def _output_of(command: str, folder: Path) -> str:
    """Run a command: here where it is gradflow's own, as torch takes seconds to load."""
    name, *arguments = shlex.split(command)
    if name != "gradflow" or arguments[0] in ("benchmark", "watch"):  # what starts processes
        return make_docs.output_of(command, folder)
    return make_docs.trimmed(CliRunner().invoke(app, arguments, env=ENVIRONMENT).output)


def found(output: str) -> set[str]:
    """Return the codes of the findings that an output shows."""
    return set(re.findall(r"^[✗!·] ([a-z-]+):", output, flags=re.MULTILINE))


def rewritten(page: str, recorded: bool) -> str:
    """Return a page with what its programs print today."""
    text = file_of(page).read_text(encoding="utf-8")
    shown = programs_in(text, page)

    def rerun(match: re.Match[str]) -> str:
        program = next(shown)
        if program.recorded and not recorded:
            return match[0]
        start, today = time.perf_counter(), printed(program)
        print(f"{time.perf_counter() - start:5.1f} s  {page}", flush=True)
        head = match[0][: match.start("output") - match.start()]
        return f"{head}{today}```"

    return BLOCK.sub(rerun, text)


def file_of(page: str) -> Path:
    """Return the file that a page is written in."""
    return OTHERS.get(page, SOURCES / f"{page}.md")


def doc(code: str) -> str:
    """Return a page as the docs show it: thresholds filled in, other codes and pages linked."""
    page = explain(code).page
    near = section(page, "See also")
    linked = re.sub(
        r"`([a-z-]+)`", lambda m: f"[{m[0]}]({m[1]}.md)" if m[1] in CODES else m[0], near
    )
    return re.sub(r"\bdocs/([a-z-]+)\.md\b", r"[\1](../\1.md)", page.replace(near, linked))


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


def check(pages: tuple[str, ...], recorded: bool) -> int:
    """Print where a page and what its programs print today differ; return in how many they do."""
    stale = 0
    for program in (program for page in pages for program in programs(page)):
        if program.recorded and not recorded:
            continue
        today = printed(program)
        equal = make_docs.same("", today, program.output)
        stale += not equal
        print(f"{'same   ' if equal else 'differs'}  {program.page}: {program.section}", flush=True)
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
    parser.add_argument("pages", nargs="*", metavar="CODE")
    parser.add_argument("--check", action="store_true", help="print what differs, write nothing")
    parser.add_argument("--docs", action="store_true", help="docs/findings alone")
    parser.add_argument("--recorded", action="store_true", help="the recorded blocks as well")
    asked = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    pages = tuple(asked.pages) or (*paged(), *OTHERS)
    if asked.check:
        return int(check(pages, asked.recorded) > 0)
    for page in () if asked.docs else pages:
        file_of(page).write_text(rewritten(page, asked.recorded), encoding="utf-8")
    write_docs()
    return 0


if __name__ == "__main__":
    sys.exit(main())
