"""Fixtures shared by all tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from support.benchmark_runs import write_stripes
from typer.testing import CliRunner, Result

# One thread per test worker: two workers of two threads each wait for one another on two cores.
torch.set_num_threads(1)

# A busy machine is not a failing law.
settings.register_profile("no deadline", deadline=None)
settings.register_profile("long", deadline=None, max_examples=5000)  # --hypothesis-profile=long
settings.load_profile("no deadline")

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    """Run the command line in an empty folder."""
    from gradflow.cli.app import app  # here: most tests of one file need none of it

    monkeypatch.chdir(tmp_path)

    def invoke(*args: str, stdin: str | None = None, width: int = 80) -> Result:
        env = {"COLUMNS": str(width), "NO_COLOR": "1", "TERM": "dumb"}
        return CliRunner().invoke(app, [str(a) for a in args], input=stdin, env=env)

    return invoke


@pytest.fixture
def run_json(run: Run) -> Callable[..., dict[str, Any]]:
    """Run a command with --json and return its document."""

    def invoke(*args: str, **kwargs: Any) -> dict[str, Any]:
        result = run(*args, "--json", **kwargs)
        assert result.exit_code == 0, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    return invoke


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must be refused: exit 2, one error line, nothing on stdout."""

    def invoke(*args: str, **kwargs: Any) -> str:
        result = run(*args, **kwargs)
        assert result.exit_code == 2, (result.exit_code, result.output)
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert lines[0].startswith("error: "), result.stderr
        assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), lines
        assert "Traceback" not in result.stderr
        return str(result.stderr)

    return invoke


@pytest.fixture
def idx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MNIST-like folder of IDX files: 300 training and 100 test images."""
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("t10k", 100)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
            header = bytes((0, 0, 8, array.ndim)) + sizes
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three kinds of 8×8 images: noise, brighter in one of three stripes."""
    return write_stripes(tmp_path_factory.mktemp("stripes"))


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread per run: test workers side by side would wait for each other's."""
    from gradflow.executors import processes

    monkeypatch.setattr(processes, "cores", lambda: 1)
