"""Every code has a check that gives it, and every finding a code that a check declares."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checks import all_checks, given_codes
from support.finding_examples import EXAMPLES

import gradflow
from gradflow.errors import GradflowError
from gradflow.findings import codes, thresholds
from gradflow.findings.check import Check, check, finding, judged
from gradflow.findings.codes import CODES
from gradflow.findings.thresholds import THRESHOLDS
from gradflow.results.base import Finding, Result
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.watching import WatchResult


def named(one: Check[Result]) -> str:
    return f"{one.function.__module__.split('.')[1]}.{one.name}"


CHECKS = {named(one): one for one in all_checks()}
DECLARED = [(name, code) for name, one in CHECKS.items() for code in one.codes]


@pytest.mark.parametrize(("name", "code"), DECLARED)
def test_a_check_gives_every_code_that_it_declares(name: str, code: str) -> None:
    result = EXAMPLES[name][code]()
    assert code in {finding.code for finding in CHECKS[name](result)}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_nothing_of_an_empty_result(name: str) -> None:
    if CHECKS[name].codes in (("unrecorded",), ("unjudged",)):  # that it is empty is their finding
        return
    (example, *_) = EXAMPLES[name].values()
    assert list(CHECKS[name](type(example())())) == []


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_registry_is_one_that_a_check_declares(code: str) -> None:
    assert code in given_codes()
    assert CODES[code].name == code
    assert CODES[code].page == f"docs/findings/{code}.md"
    assert CODES[code].severity in ("error", "warning", "info")


def test_every_room_with_checks_is_asked_for_its_codes() -> None:
    (folder,) = gradflow.__path__
    rooms = {path.name for path in Path(folder).iterdir() if list(path.glob("checks*"))}
    assert rooms == {name.split(".")[0] for name in CHECKS} - {"findings"}  # those of a batch


def test_every_check_of_a_room_is_in_its_list() -> None:
    modules = {f"{name.split('.')[0]}.checks" for name in CHECKS} - {"findings.checks"}
    for room in modules | {"findings.batch_checks"}:
        module = importlib.import_module(f"gradflow.{room}")
        inside = pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}.")
        for part in (module, *(importlib.import_module(found.name) for found in inside)):
            written = {value for value in vars(part).values() if isinstance(value, Check)}
            assert written <= set(CHECKS.values()), part.__name__


def test_a_finding_that_its_check_did_not_declare_is_refused() -> None:
    @check("dead")
    def careless(_: Result) -> Iterator[Finding]:
        yield finding("broken", "something else")

    with pytest.raises(ValueError, match="'careless' does not declare 'broken'"):
        list(careless(Result()))


def test_a_severity_that_a_code_does_not_have_is_refused() -> None:
    @check("lazy")
    def severe(_: Result) -> Iterator[Finding]:
        yield finding("lazy", "a fault all at once", severity="error")

    with pytest.raises(ValueError, match="'lazy' has no severity 'error'"):
        list(severe(Result()))


def test_a_check_of_no_known_code_is_refused() -> None:
    for unknown in ((), ("ded",)):
        with pytest.raises(ValueError, match="declares codes"):
            check(*unknown)


def test_the_first_error_is_the_verdict_and_warnings_are_not() -> None:
    @check("dead", "exploding", "underflow")
    def several(_: DiagnosisResult) -> Iterator[Finding]:
        yield finding("underflow", "a warning")
        yield finding("dead", "no fault here", severity="warning")
        yield finding("exploding", "the first error")
        yield finding("dead", "the second")

    assert judged(DiagnosisResult(), (several,)).verdict == "exploding"
    assert judged(DiagnosisResult(verdict="dead"), ()).verdict == "healthy"


def test_the_verdict_is_unjudged_where_a_check_says_so_and_none_found_an_error() -> None:
    @check("unjudged")
    def blind(_: DiagnosisResult) -> Iterator[Finding]:
        yield finding("unjudged", "nothing was seen")

    @check("dead")
    def fatal(_: DiagnosisResult) -> Iterator[Finding]:
        yield finding("dead", "an error all the same")

    result = judged(DiagnosisResult(), (blind,))
    assert result.verdict == "unjudged"
    assert judged(DiagnosisResult(), (blind, fatal)).verdict == "dead"
    with pytest.raises(AssertionError, match="nothing was seen"):
        result.assert_healthy()


@pytest.mark.parametrize("result", [DiagnosisResult(), WatchResult()])
def test_a_misspelt_code_is_refused_instead_of_never_being_found(
    result: DiagnosisResult | WatchResult,
) -> None:
    with pytest.raises(GradflowError, match="unknown finding 'explodin'") as refused:
        result.assert_healthy("dead", "explodin")
    assert "exploding" in (refused.value.hint or "")
    result.assert_healthy("dead", "exploding")


def test_a_verdict_needs_no_result_without_one() -> None:
    assert judged(Result(), ()).findings == ()


def test_a_code_is_one_entry() -> None:
    assert len({code.name for code in codes._ALL}) == len(codes._ALL)


def test_a_threshold_has_one_value() -> None:
    with pytest.raises(ValueError, match="'dead' has two values"):
        thresholds._threshold("dead", 0.5, "A second opinion.")


def test_every_threshold_has_its_reason() -> None:
    assert THRESHOLDS["dead"].value == 0.9
    assert all(t.reason.endswith(".") and t.name == n for n, t in THRESHOLDS.items())
