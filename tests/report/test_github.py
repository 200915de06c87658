"""Annotations and step summaries: as GitHub reads them, and nothing foreign obeyed."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.figure_results import diagnosed

from gradflow.errors import GradflowError
from gradflow.report import github
from gradflow.results.base import Finding, RunMeta

#: A command as the runner takes it apart, and how it reads what it finds.
COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")
READ = {"%0A": "\n", "%0D": "\r", "%3A": ":", "%2C": ","}


def read(line: str) -> tuple[str, dict[str, str], str]:
    """Return level, properties and message of a workflow command."""
    match = COMMAND.fullmatch(line)
    assert match is not None, line
    level, given, message = match.groups()
    return level, {k: plain(v) for k, v in (p.split("=") for p in given.split(","))}, plain(message)


def plain(text: str) -> str:
    for escaped, sign in READ.items():
        text = text.replace(escaped, sign)
    return text.replace("%25", "%")


def test_each_finding_is_an_annotation() -> None:
    findings = (
        Finding("vanishing", "error", (1,), "δ shrinks by 99 %", "other weights"),
        Finding("inputs", "warning", (), "x", ""),
        Finding("batch", "info", (), "y", ""),
    )
    meta = RunMeta(config={"script": "train, 50%.py", "path": "src/train, 50%.py"})
    result = replace(diagnosed(0.0), findings=findings, meta=meta)
    found = [read(line) for line in github.commands(result)]
    assert [level for level, _, _ in found] == ["error", "warning", "notice"]
    assert found[0][1] == {"file": "src/train, 50%.py", "title": "gradflow: vanishing"}
    assert found[0][2] == "δ shrinks by 99 %\n→ other weights"


def test_a_built_in_network_has_no_file() -> None:
    findings = (Finding("dead", "error", (), "x", ""),)
    (line,) = github.commands(replace(diagnosed(0.0), findings=findings))
    assert read(line)[1] == {"title": "gradflow: dead"}


def test_no_foreign_text_is_a_command_of_its_own() -> None:
    evil = "layer\n::add-mask::x\r\n::error::y %0A::stop-commands::z"
    (line,) = github.commands(
        replace(diagnosed(0.0), findings=(Finding("dead", "error", (), evil, evil),))
    )
    assert len(line.splitlines()) == 1
    assert "%250A::stop-commands" in line
    assert read(line)[2].startswith("layer\n::add-mask::x")


def test_the_summary_is_added_to_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv(github.SUMMARY, str(file))
    result = replace(diagnosed(0.0), findings=(Finding("dead", "error", (), "<b>x</b>", ""),))
    assert github.add_summary(result) == file
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n### gradflow diagnose\n")
    assert "<b>" not in text
    file.write_text("x" * 1_000_000, encoding="utf-8")
    assert github.add_summary(result) is None
    assert file.stat().st_size == 1_000_000


def test_a_summary_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(github.SUMMARY, str(tmp_path))
    with pytest.raises(GradflowError, match="cannot write"):
        github.add_summary(diagnosed(0.0))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have names")
def test_a_summary_that_is_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv(github.SUMMARY, str(pipe))
    with pytest.raises(GradflowError, match="cannot write"):  # nobody reads it
        github.add_summary(diagnosed(0.0))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert github.add_summary(diagnosed(0.0)) == pipe
    assert os.read(reader, 1000).startswith(b"### gradflow diagnose\n")
    os.close(reader)


def test_the_command_line_does_both(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(github.SUMMARY, "summary.md")
    result = run("chain", "--slopes", "0", "--github")
    assert result.stderr.startswith("::error title=gradflow%3A dead::")
    assert "gradflow chain" in Path("summary.md").read_text(encoding="utf-8")
    monkeypatch.delenv(github.SUMMARY)
    assert "no summary" in run("chain", "--slopes", "0", "--github", "--json").stderr
    assert "::" not in run("chain", "--slopes", "0").stderr
