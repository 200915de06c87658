"""What a user installs: built, inspected, installed, and run away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradflow

ROOT = Path(__file__).parents[2]


def ran(*command: Any, **kwargs: Any) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


def test_wheel_and_sdist_hold_what_they_should(built: Path) -> None:
    said = ran(sys.executable, ROOT / "scripts" / "inspect_dist.py", built)
    assert said.count(" 0 faults") == 2


def test_a_stray_and_a_missing_file_are_faults(built: Path, tmp_path: Path) -> None:
    for path in built.iterdir():
        shutil.copy(path, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(tmp_path / "bad", "w") as bad:
        for name in set(whole.namelist()) - {"gradflow/py.typed"}:
            bad.writestr(name, whole.read(name))
        bad.writestr("tests/conftest.py", "")
    (tmp_path / "bad").replace(wheel)
    inspect = [sys.executable, ROOT / "scripts" / "inspect_dist.py", tmp_path]
    done = subprocess.run(inspect, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks gradflow/py.typed\n  stray tests/conftest.py\n" in done.stdout


def test_the_installed_wheel_runs(built: Path, tmp_path: Path) -> None:
    """Its dependencies are borrowed, so that nothing is fetched."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    ran(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (site / "borrowed.pth").write_text("\n".join(_borrowed()), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_"))}
    command, where = home / "bin" / "gradflow", {"cwd": tmp_path, "env": environment}
    origin = ran(python, "-c", "import gradflow; print(gradflow.__file__)", **where)
    assert Path(origin.strip()).is_relative_to(home)
    assert ran(command, "--version", **where).split() == ["gradflow", gradflow.__version__]
    values = ran(command, "eval", "relu", "--at", "2", "--json", **where)
    assert '"value": 2.0' in values


def _borrowed() -> set[str]:
    """Return the folders that hold the packages of this environment, and not gradflow itself."""
    return {str(Path(module.__file__).parents[1]) for module in (np, pytest) if module.__file__}
