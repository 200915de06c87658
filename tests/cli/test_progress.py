"""Progress where stderr is no terminal: silence at first, then a line now and then."""

from __future__ import annotations

import pytest

from gradflow.cli.progress import Log, counting, stages


def test_a_log_gets_a_line_after_ten_seconds_and_then_more_and_more_rarely(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    log = Log(lambda: now[0])
    for second in range(100):
        now[0] = float(second)
        log("measuring", second, 100)
    lines = [f"… measuring: {done} of 100" for done in (10, 30, 70)]
    assert capsys.readouterr().err.splitlines() == lines


def test_what_is_soon_done_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with counting("measuring") as count, stages() as stage:
        count(1, 2)
        stage("norm", 1, 2, 0.5)
    assert capsys.readouterr().err == ""
