"""Virtual environments of their own for the contestants that gradflow does not depend on."""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

DEFAULT_CACHE = Path.home() / ".cache" / "gradflow-benchmarks"

# The build without a GPU exists for Linux on x86-64 alone; others get the same with another name.
_SLIM = platform.system() == "Linux" and platform.machine() == "x86_64"
_PACKAGES = {
    "keras": ["tensorflow-cpu" if _SLIM else "tensorflow", "keras"],
    "lightning": ["lightning"],
    "finders": ["torch-lr-finder", "lightning"],
}


def environment(name: str, cache: Path) -> Path:
    """Return the interpreter of the environment of that name, made if need be."""
    folder = cache / name
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    stamp = folder / "complete"
    if not stamp.exists():
        print(f"making {folder} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        if name != "keras":
            _lend_torch(python)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *_PACKAGES[name]], check=True)
        stamp.touch()
    return python


def _lend_torch(python: Path) -> None:
    """Let the environment see this one's packages: the same torch, and none is downloaded."""
    script = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    ours = sysconfig.get_paths()["purelib"]
    (Path(done.stdout.strip()) / "gradflow_benchmarks.pth").write_text(ours + "\n")
