"""The documentation says what the program does."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_current() -> None:
    lines = "\n".join(script("make_reference").reference()).rstrip() + "\n"
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == lines


make_docs = script("make_docs")
#: What the page test leaves to `make docs-check`: training, which carries the rounding of a
#: processor through its steps; times; and what needs a shell.
LEFT_OUT = re.compile(r"gradflow clip|--time|[|&;]|^python|first_script")
SHOWN = [s for s in make_docs.shown() if not s.recorded and not LEFT_OUT.search(s.command)]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda s: f"{s.page.name}: {s.command[:60]}")
def test_what_a_page_shows_is_what_is_printed(
    shown: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    command, expected = without_picture(shown.command, shown.output)
    width, words = re.fullmatch(r"(?:COLUMNS=(\d+) )?gradflow (.*)", command).groups()  # type: ignore[union-attr]
    make_docs.stage(tmp_path)
    printed = make_docs.trimmed(run(*shlex.split(words), width=int(width or 80)).output)
    assert make_docs.same(command, printed, expected), printed


def without_picture(command: str, output: str) -> tuple[str, str]:
    """Leave `-o PICTURE` out where it is not the command's only work: drawing takes a second."""
    if command.startswith("gradflow plot"):
        return command, output
    return re.sub(r" -o \S+", "", command), re.sub(r"^wrote .*\n", "", output, flags=re.MULTILINE)


def test_the_commands_that_are_run_again_are_of_most_kinds() -> None:
    kinds = {re.search(r"gradflow (\S+)", s.command)[1] for s in SHOWN}  # type: ignore[index]
    assert kinds >= {"eval", "chain", "plot", "diagnose", "benchmark"}


@pytest.mark.parametrize(
    ("printed", "equal"),
    [
        ("Vanishing: 13.8 %  ███▉  -9.52\n", True),
        ("Vanishing: 13.9 %  ████  -9.51\n", True),  # as another processor rounds
        ("Vanishing: 13.8 %  ███▉  -9.49\n", False),
        ("Vanishing: 14.1 %  ███▉  -9.52\n", False),
        ("Exploding: 13.8 %  ███▉  -9.52\n", False),
        ("Vanishing: 13.8 %  ███▉\n", False),
    ],
)
def test_numbers_of_torch_may_differ_in_their_last_place_alone(printed: str, equal: bool) -> None:
    page = "Vanishing: 13.8 %  ███▉  -9.52\n"
    assert make_docs.same("gradflow diagnose", printed, page) is equal
    assert make_docs.same("gradflow eval relu", printed, page) is (printed == page)


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [("2.41e-09", "2.42e-09", "2.43e-09"), ("64", "65", "66"), ("-0.52", "-0.51", "-0.50")],
)
def test_a_number_s_last_place_is_read_off_its_digits(one: str, near: str, far: str) -> None:
    assert make_docs.close(one, near)
    assert not make_docs.close(one, far)


def test_every_command_shown_has_its_output_beneath() -> None:
    for page, command, output, recorded in make_docs.shown():
        assert output or recorded, f"{page.name}: {command}"


def tracked() -> list[str]:
    """The files that git keeps, or a skipped test outside of a checkout."""
    git = shutil.which("git")
    done = git and subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if not done or done.returncode or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name]


def test_no_leftover_of_a_killed_process_is_tracked() -> None:
    """`report.files.replacing` writes beside the file; a kill leaves that behind."""
    files = [ROOT / name for name in tracked()]
    assert [f for f in files if re.fullmatch(r"\..+-[a-z0-9_]{8}\.\w+", f.name)] == []
    may_be_empty = {"__init__.py", "py.typed"}
    assert [
        f for f in files if f.is_file() and not (f.stat().st_size or f.name in may_be_empty)
    ] == []


def test_git_ignores_what_is_written_beside_a_file(tmp_path: Path) -> None:
    """The name that is made today is one that .gitignore knows."""
    from gradflow.report import WRITERS, replacing

    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for suffix in WRITERS:
        with replacing(tmp_path / f"watch{suffix}") as temporary:
            assert any(fnmatch.fnmatch(temporary.name, pattern) for pattern in patterns), suffix
