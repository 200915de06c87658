"""The line at the foot of the terminal: what is written, when, and that it is gone at the end."""

from __future__ import annotations

import io
import os
import shutil
from typing import Any, NamedTuple

import pytest

from gradflow.cli import live
from gradflow.cli.live import LiveLine, said


class Progress(NamedTuple):
    """How far a model is."""

    name: str = "model"
    step: int = 1200
    loss: float | None = 0.123456
    norm: float | None = 2.5
    verdict: str = "healthy"


class Model:
    """A model that says how far it is."""

    asked = 0

    def progress(self) -> Progress:
        self.asked += 1
        return Progress(step=self.asked)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is set by hand, and a terminal of 40 columns and 10 rows."""
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 10)))
    monkeypatch.delenv("TERM", raising=False)
    return now


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "model: step 1,200, loss 0.1235, ‖g‖ 2.5, healthy so far"),
        ({"loss": None}, "model: step 1,200, ‖g‖ 2.5, healthy so far"),
        ({"norm": None}, "model: step 1,200, loss 0.1235, healthy so far"),
    ],
)
def test_what_is_known_is_said(given: dict[str, Any], words: str) -> None:
    assert said(Progress(**given)) == words


def test_it_is_written_a_few_times_a_second_and_cleared_at_the_end(clock: list[float]) -> None:
    stream, model = Terminal(), Model()
    with LiveLine(stream) as line:
        for later in (0.0, 0.1, 0.05, 0.06):
            clock[0] += later
            line(model)
        assert model.asked == 2  # at 0 s and at 0.21 s
        shown = stream.getvalue()
    assert shown.count("\x1b[1;9r") == 1  # the region that scrolls, once
    assert "\x1b[10;1H\x1b[2Kmodel: step 2, loss 0.1235, ‖g‖ 2.5, he\x1b8" in shown  # 39 of 40
    assert stream.getvalue() == shown + "\x1b7\x1b[r\x1b[10;1H\x1b[2K\x1b8"


def test_a_terminal_of_another_size_scrolls_in_another_region(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    line = LiveLine(stream)
    line(Model())
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 20)))
    clock[0] += 1
    line(Model())
    assert "\x1b[1;19r" in stream.getvalue()


@pytest.mark.parametrize("term", ["dumb", None])
def test_elsewhere_nothing_is_written(
    term: str | None, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream: io.StringIO = io.StringIO()
    if term is not None:
        stream = Terminal()
        monkeypatch.setenv("TERM", term)
    with LiveLine(stream) as line:
        line(Model())
    assert stream.getvalue() == ""


def test_a_stream_that_the_program_closed_ends_it(clock: list[float]) -> None:
    stream = Terminal()
    with LiveLine(stream) as line:
        stream.close()
        line(Model())
        assert not line.on
        clock[0] += 1
        line(Model())
