"""The fuzzer of the command line finds what is broken, and does not call a program's own so."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Any]:
    sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("fuzz_cli", SCRIPTS / "fuzz_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPTS))


def broken_inputs(fuzz: Any, count: int) -> int:
    with fuzz.prepared_folder():
        found = fuzz.tried_at_random("1", count, 1, "chain")["chain"]
    assert found.total() - found["broken"] == count
    return int(found["broken"])


def test_a_planted_defect_is_found_and_without_it_nothing_is(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert broken_inputs(fuzz, 150) == 0

    def run(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("gradflow.functions.chain.multiplied", run)
    assert broken_inputs(fuzz, 150) > 0
    assert capsys.readouterr().out.startswith("70: 'chain ")


def test_every_parameter_of_every_command_is_drawn(fuzz: Any) -> None:
    random_ = random.Random(0)
    for command in fuzz.commands().values():
        seen = {text.partition("=")[0] for _ in range(600) for text in fuzz.drawn(command, random_)}
        options = {p.opts[0] for p in command.params if p.param_type_name == "option"}
        assert options <= seen


TRACE = 'Traceback (most recent call last):\n  File "{}", line 1, in <module>\nNameError: null'


def test_what_a_users_program_raises_is_not_ours(fuzz: Any) -> None:
    with fuzz.prepared_folder():
        own, ours = TRACE.format(Path("out.json").resolve()), TRACE.format(fuzz.__file__)
        assert not fuzz.broken("lr", 1, own)
        assert fuzz.broken("lr", 1, ours)
        assert fuzz.broken("lr", 1, own.replace("NameError", ours))
        assert fuzz.broken("lr", 70, own)
        assert fuzz.broken("diagnose", 1, own)
        assert fuzz.broken("lr", 1, "Traceback without a file")


@pytest.mark.parametrize(
    ("command", "code", "err", "is_broken"),
    [
        ("eval", 0, "", False),
        ("eval", 2, "error: no such option", False),
        ("eval", 2, "", True),
        ("eval", 70, "error: internal", True),
        ("eval", "ValueError: x", "", True),
        ("eval", 130, "", False),
        ("eval", 0, "Traceback", True),
        ("eval", "late", "", False),
        ("watch", 3, "", False),
        ("watch", 70, "", True),
    ],
)
def test_what_no_run_may_end_with(
    fuzz: Any, command: str, code: Any, err: str, is_broken: bool
) -> None:
    assert fuzz.broken(command, code, err) is is_broken
