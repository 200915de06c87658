"""However a program ends, and whatever it did to what its end is said with."""

from __future__ import annotations

import sys
from typing import NoReturn

import pytest

from gradflow.cli.streams import stdout_kept
from gradflow.script.endings import Ending, ending_of


class Silent(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _silent() -> NoReturn:
    raise Silent


def _wrong() -> NoReturn:
    raise ValueError("wrong\nindeed")


def _leave() -> NoReturn:
    sys.exit("goodbye")


def test_a_hook_that_fails_itself_does_not_hide_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *_: 1 / 0)
    assert ending_of(_wrong) == Ending(code=1, error="ValueError: wrong")
    assert "ValueError: wrong\nindeed" in capsys.readouterr().err


def test_an_error_without_words_is_named() -> None:
    assert ending_of(_silent) == Ending(code=1, error="Silent: <exception str() failed>")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_program_that_took_its_streams_away_ends_as_any(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, None)
    assert ending_of(_wrong).code == 1
    assert ending_of(_leave).code == 1


@pytest.mark.parametrize("left", [None, "closed", "another"])
def test_what_follows_a_program_goes_where_it_went_before(
    left: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(1, "w", closefd=False, encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with stdout_kept():
            if left == "closed":
                sys.stdout.close()
            else:
                monkeypatch.setattr(sys, "stdout", None if left is None else sys.stderr)
        sys.stdout.write("the report\n")
        sys.stdout.flush()
    assert capfd.readouterr().out == "the report\n"
