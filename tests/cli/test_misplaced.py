"""Options of gradflow's that came after the script's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TRAINS = """
import torch
net = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    net(torch.ones(8, 4)).square().mean().backward()
    optimizer.step()
"""
PARSES = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
{more}
parser.parse_args()
"""
STEPS = 'parser.add_argument("--steps", type=int)'


def said(run: Any, text: str, *arguments: str) -> str:
    """Return what is said on stderr of a program that is given some arguments."""
    Path("train.py").write_text(text, encoding="utf-8")
    lines = run("watch", "train.py", *arguments).stderr.splitlines()
    return next((line for line in lines if line.startswith("note: ")), "")


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (("--steps", "2"), "gradflow watch --steps 2 train.py?"),
        (("--steps=2", "data"), "gradflow watch --steps=2 train.py data?"),
        (("7", "--json", "-o", "a b.png"), "gradflow watch --json -o 'a b.png' train.py 7?"),
        (("--no-chart",), "gradflow watch --no-chart train.py?"),
    ],
)
def test_a_program_that_reads_no_arguments_is_said_to_have_been_given_some(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str], typed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(run, TRAINS, *arguments).endswith(f"did you mean {typed}")


def test_a_program_that_refuses_its_arguments_is_told_whose_they_are(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    knows_one = PARSES.format(more="")
    assert "did you mean gradflow watch --steps=2 train.py?" in said(run, knows_one, "--steps=2")
    assert not said(run, knows_one, "--lrr", "2")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (PARSES.format(more=STEPS) + TRAINS, ("--steps", "2")),
        ("import sys\nprint(sys.argv)\n" + TRAINS, ("--json",)),
        ("import its_options\n" + TRAINS, ("--steps", "2")),
        (TRAINS, ("--epochs", "2")),
        (TRAINS, ()),
    ],
)
def test_what_may_be_the_programs_own_is_left_alone(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, arguments: tuple[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("its_options.py").write_text("import sys\nGIVEN = sys.argv\n", encoding="utf-8")
    assert not said(run, text, *arguments)
