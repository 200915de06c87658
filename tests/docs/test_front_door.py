"""What a contributor meets first: versions agree, what is named exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import gradflow

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
TEXTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / ".github").rglob("*.*"),
    ROOT / ".ci" / "run",
]


def test_the_citation_has_the_version_and_the_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^(\S+): (.+)$", citation, flags=re.MULTILINE))
    assert fields["version"] == gradflow.__version__
    assert fields["title"] == "gradflow"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'license = "{fields["license"]}"' in project


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(text: Path) -> None:
    named = re.findall(r"(?:`|^\s*|run: )make ([a-z-]+)", text.read_text("utf-8"), flags=re.M)
    assert set(named) <= TARGETS


def test_every_target_is_phony_but_the_stamps() -> None:
    """A file named `docs` is in the way of a target that make takes for a file."""
    (phony,) = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)", MAKEFILE, flags=re.MULTILINE)
    assert set(phony.replace("\\", "").split()) == TARGETS


def test_ci_runs_what_a_person_is_told_to_run() -> None:
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "run: make test" in workflow
    declared = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert f'"{declared[0]}"' in workflow


@pytest.mark.parametrize("tool", ["ruff check", "ruff format", "mypy"])
def test_the_hooks_are_what_make_runs(tool: str) -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"entry: .venv/bin/{tool}" in hooks
    assert f"$(BIN)/{tool}" in MAKEFILE


def test_every_place_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:gradflow|tests|scripts|docs)/[\w./-]*)`", text))
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    places = re.findall(r"`(\w+)` in `([\w./-]+\.py)`", text)
    assert len(places) > 10
    for name, path in places:
        assert re.search(rf"^(class )?{name}\b", (ROOT / path).read_text("utf-8"), re.M), name


def test_the_examples_of_contributing_are_python() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        ast.parse(f"{{{block}}}" if block.startswith('"') else block)
