"""Every code has a page and every page a code, and its programs do what it says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gradflow
from gradflow.cli.explain import complete_code
from gradflow.errors import GradflowError
from gradflow.findings.codes import CODES
from gradflow.findings.explain import SECTIONS, filled_in, section, source
from gradflow.findings.thresholds import DEAD, THRESHOLDS

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "scripts" / "make_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_pages = _script()
BROKEN, MENDED = "A program that shows it", "The program, mended"
#: Codes that say something either way, so that no program is without them.
SAID_EITHER_WAY = {"self-normalising"}


def programs(code: str, title: str) -> list[Any]:
    return [program for program in make_pages.programs(code) if program.section == title]


def output(program: Any) -> str:
    """What it prints now; where that takes a process of its own, what the page shows."""
    slow = program.recorded or (program.program and program.commands)
    shown: str = program.output if slow else make_pages.printed(program)
    return shown


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert {path.stem for path in make_pages.SOURCES.glob("*")} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_every_section_and_each_says_something(code: str) -> None:
    text = source(code)
    assert tuple(re.findall(r"^## (.*)$", text, flags=re.MULTILINE)) == SECTIONS
    assert all(section(text, title).strip() for title in SECTIONS)
    assert text.startswith("## ")


@pytest.mark.parametrize("code", CODES)
def test_a_page_names_other_codes_and_known_thresholds(code: str) -> None:
    page = gradflow.explain(code)
    assert page.see_also
    assert code not in page.see_also
    assert set(page.see_also) <= set(CODES)
    assert "{threshold" not in page.text


@pytest.mark.parametrize("code", CODES)
def test_the_program_gives_the_finding(code: str) -> None:
    (program,) = programs(code, BROKEN)
    assert code in make_pages.found(output(program))


@pytest.mark.parametrize("code", CODES)
def test_the_mended_program_does_not(code: str) -> None:
    mended = programs(code, MENDED)
    if not mended:  # nothing can be mended of what is no fault
        assert CODES[code].severity == "info"
    for program in mended:
        found = make_pages.found(output(program))
        assert (code in found) is (code in SAID_EITHER_WAY)


@pytest.mark.parametrize("code", CODES)
def test_a_program_is_short_and_names_no_threshold(code: str) -> None:
    for program in make_pages.programs(code):
        lines = program.program.splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines), default=0) <= 78  # on a terminal of 80 columns
        assert program.output.strip()


def test_the_docs_are_made_of_the_pages() -> None:
    made = make_pages.documents()
    assert {
        path for path, text in made.items() if path.read_text(encoding="utf-8") != text
    } == set()
    assert set(make_pages.DOCS.glob("*")) <= set(made)
    assert all((ROOT / code.page) in made for code in CODES.values())


def test_the_docs_link_to_the_other_pages() -> None:
    for path in make_pages.DOCS.glob("*.md"):
        targets = re.findall(r"\]\(([\w-]+\.md)\)", path.read_text(encoding="utf-8"))
        assert targets
        assert all((path.parent / target).exists() for target in targets)


def test_a_threshold_on_a_page_is_the_one_that_checks_use() -> None:
    assert filled_in("{threshold:dead|%} or {threshold:dead}") == f"{100 * DEAD:g} % or {DEAD:g}"
    assert filled_in("{threshold:few layers}") == f"{THRESHOLDS['few layers'].value:g}"
    with pytest.raises(KeyError):
        filled_in("{threshold:no such}")


def test_an_explanation_is_a_result() -> None:
    page = gradflow.explain("vanishing")
    document = page.to_dict()
    assert document["command"] == "explain"
    assert document["code"] == "vanishing"
    assert document["severity"] == "error"
    assert document["title"] == "The gradient fades over depth or time"
    assert document["text"].startswith("## What it means")
    assert document["see_also"][0] == "saturated"
    assert str(page).startswith("# vanishing: The gradient fades over depth or time\n")


def test_an_unknown_code_is_refused_with_the_nearest() -> None:
    with pytest.raises(GradflowError, match="unknown finding 'vanish'") as refused:
        gradflow.explain("vanish")
    assert "vanishing" in (refused.value.hint or "")


def test_completion_offers_codes_with_what_they_say() -> None:
    assert [name for name, _ in complete_code("")] == list(CODES)
    assert complete_code("van") == [("vanishing", CODES["vanishing"].summary)]


def test_a_diff_changes_the_lines_that_it_takes_away() -> None:
    program = "a = 1\nb = 2\nc = 3\n"
    assert make_pages.patched(program, "-b = 2\n+b = 4\n+d = 5\n") == "a = 1\nb = 4\nd = 5\nc = 3\n"
    assert make_pages.patched(program, " a = 1\n-b = 2\n") == "a = 1\nc = 3\n"
    for wrong in ("-e = 6\n+e = 7\n", "-\n"):
        with pytest.raises(ValueError, match="does not have once"):
            make_pages.patched(program, wrong)


def test_of_the_scripts_that_do_not_learn_each_is_told_apart_from_its_mended_form() -> None:
    shown = list(make_pages.programs("scripts-that-do-not-learn"))
    assert len(shown) == 10
    for broken, mended in zip(shown[::2], shown[1::2], strict=True):
        assert broken.program != mended.program
        assert re.search(r"^[✗!] ", broken.output, flags=re.MULTILINE)
        assert not re.search(r"^[✗!] ", mended.output, flags=re.MULTILINE)
