"""The documentation says what the program does."""

from __future__ import annotations

import importlib.util
import re
import shlex
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


def shown() -> list[tuple[str, str]]:
    """Commands whose output depends on no machine, with what the page shows beneath."""
    found = []
    for page in PAGES:
        for block in script("make_docs").BLOCK.findall(page.read_text(encoding="utf-8")):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                if re.match(r"gradflow (eval|chain) ", command) and "-o " not in command:
                    found.append((command, output))
    return found


@pytest.mark.parametrize(("command", "output"), shown())
def test_what_a_page_shows_is_what_is_printed(
    command: str, output: str, run: Callable[..., Any]
) -> None:
    result = run(*shlex.split(command)[1:])
    printed = "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())
    assert printed == output


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_link_is_broken(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_command_shown_has_its_output_beneath() -> None:
    for page in PAGES:
        for block in script("make_docs").BLOCK.findall(page.read_text(encoding="utf-8")):
            assert len(block.splitlines()) > 1, f"{page.name}: {block}"
