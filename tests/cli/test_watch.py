"""`gradflow watch`: what goes where, and what it exits with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs import HEAD, LOOP, program


def gradflow(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "gradflow", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_program_prints_to_stdout_and_the_report_follows(tmp_path: Path) -> None:
    program(tmp_path, HEAD, LOOP, "print('said', sys.argv[1:])\nsys.exit(4)")
    done = gradflow("watch", "-o", "run.json", "train.py", "--json", "-h", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert done.stdout.startswith("said ['--json', '-h']\n")
    assert "6 steps" in done.stdout
    assert json.loads((tmp_path / "run.json").read_text())["script_exit_code"] == 4


def test_with_json_the_program_prints_to_stderr(tmp_path: Path) -> None:
    late = """
    import atexit, os, subprocess
    print("python said")
    os.write(1, b"C said\\n")
    subprocess.run([sys.executable, "-c", "print('a child said')"])
    atexit.register(print, "late")
    """
    program(tmp_path, HEAD, LOOP, late)
    done = gradflow("watch", "--json", "--fail-on", "unjudged", "train.py", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert document["models"][0]["name"] == "net"
    said = done.stderr.splitlines()
    assert {"python said", "C said", "a child said", "late"} <= set(said)


def test_a_program_that_catches_everything_is_ended(tmp_path: Path) -> None:
    endless = """
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while True:
        try:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        except BaseException:
            pass
    """
    program(tmp_path, HEAD, endless)
    done = gradflow("watch", "--json", "--steps", "4", "train.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["steps"]) == 4
    assert document["script_exit_code"] is None


def test_a_missing_program_is_one_line(tmp_path: Path) -> None:
    done = gradflow("watch", "none.py", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: there is no file 'none.py'\n"


def test_a_misspelt_program_is_one_line_with_the_nearest(
    refused: Callable[..., str],
) -> None:
    for name in ("train.py", "hi.py", "notes.txt"):
        Path(name).write_text("pass\n", encoding="utf-8")
    said = refused("watch", "trian.py")
    assert "there is no file 'trian.py'" in said
    assert said.rstrip().endswith("did you mean train.py?")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("python train.py --lr 1", "leave 'python' out: gradflow watch train.py --lr 1"),
        ("nowhere/python3.11 train.py", "leave 'nowhere/python3.11' out: gradflow watch train.py"),
        ("torchrun train.py", "-m gradflow watch train.py"),
        ("accelerate launch train.py", "accelerate launch -m gradflow watch train.py"),
        ("package.train", "gradflow watch -m package.train"),
        ("notebook.ipynb", "jupyter nbconvert --to script notebook.ipynb"),
    ],
)
def test_what_is_no_program_is_said_with_what_is_meant(
    refused: Callable[..., str], typed: str, hint: str
) -> None:
    Path("package").mkdir()
    Path("notebook.ipynb").write_text('{"cells": []}', encoding="utf-8")
    assert hint in refused("watch", *typed.split()).partition("hint: ")[2]


def test_a_file_that_is_not_there_is_no_module(refused: Callable[..., str]) -> None:
    assert "hint" not in refused("watch", "requirements.txt")


def test_a_file_under_m_is_refused_in_a_line(refused: Callable[..., str]) -> None:
    Path("program.py").write_text("pass\n", encoding="utf-8")
    assert "'program' is no package" in refused("watch", "-m", "program.py")
