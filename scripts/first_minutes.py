"""Do what docs/start.md says, in a fresh clone, and print how long each line took.

    python scripts/first_minutes.py

Exit code 1: a line of the page failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import make_docs  # noqa: E402

PAGE = ROOT / "docs" / "start.md"
CLONE = "git clone <this repository> gradflow && cd gradflow"
ACTIVATE = ". .venv/bin/activate"


def installation() -> list[str]:
    """Return the page's lines between the clone and what activates the environment."""
    block = re.search(r"(?:^    .*\n)+", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line.strip() for line in block[0].splitlines()] if block else []
    if lines[:1] != [CLONE] or lines[-1:] != [ACTIVATE]:
        raise SystemExit(f"{PAGE.name} installs in another way than this script knows")
    return lines[1:-1]


def followed(folder: Path, lines: list[str]) -> bool:
    """Run the lines in a folder, print how long each took; return whether all went well."""
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    well = True
    for line in lines:
        start = time.perf_counter()
        done = subprocess.run(
            line,
            shell=True,
            cwd=folder,
            env={**make_docs.ENVIRONMENT, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        well = well and done.returncode == 0
        said = (done.stdout or done.stderr).splitlines() or [""]
        print(f"{time.perf_counter() - start:5.1f} s  {line}", flush=True)
        if done.returncode:
            print(f"         exit code {done.returncode}: {said[-1]}")
    return well


def main() -> int:
    """Clone, install, follow; return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "gradflow"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        commands = [shown.command for shown in make_docs.shown((PAGE,)) if not shown.recorded]
        return 0 if followed(folder, installation() + commands) else 1


if __name__ == "__main__":
    sys.exit(main())
