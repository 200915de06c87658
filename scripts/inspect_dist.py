"""Say what is wrong with the wheel and the sdist in a folder.

python -m hatchling build -d dist && python scripts/inspect_dist.py dist
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What a package may hold beside Python.
DATA = re.compile(
    r"gradflow/(py\.typed|data/(mnist\.npz|LICENSE-MNIST\.md)|findings/pages/[a-z0-9-]+\.md"
    r"|report/html/assets/(page\.(css|js|html\.j2)|vega(-lite|-embed)?\.min\.js|LICENSE-VEGA\.txt))"
)
#: What the sdist has to hold, so that it can be built, tested and read.
NEEDED = ("LICENSE", "README.md", "PKG-INFO", "pyproject.toml", "constraints.txt", "Makefile")
FOLDERS = frozenset({"gradflow", "tests", "docs", "scripts", "benchmarks"})
LICENSES = (
    "LICENSE",
    "gradflow/data/LICENSE-MNIST.md",
    "gradflow/report/html/assets/LICENSE-VEGA.txt",
)
ENTRY_POINTS = ("gradflow = gradflow.cli:main", "gradflow = pytest_gradflow")
#: A module beside the package: pytest loads it without the package.
PLUGIN = "pytest_gradflow.py"
STRAY = re.compile(r"(^|/)(__pycache__|\.[^/]+|[^/]*\.(pyc|so|tmp|orig|rej|log))(/|$)")


def source_files() -> set[str]:
    """Return the files of the package in this checkout."""
    found = (path.relative_to(ROOT).as_posix() for path in (ROOT / "gradflow").rglob("*.*"))
    return {PLUGIN, *(name for name in found if name.endswith(".py") or DATA.fullmatch(name))}


def wheel_faults(path: Path) -> Iterator[str]:
    """Yield what a wheel lacks, and what should not be in it."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        entries = wheel.read(f"{info}/entry_points.txt").decode()
        metadata = wheel.read(f"{info}/METADATA").decode()
    package = {name for name in names if not name.startswith(f"{info}/")}
    yield from differences(package, source_files())
    for name in LICENSES:
        if f"{info}/licenses/{name}" not in names:
            yield f"lacks the licence {name}"
    for entry in ENTRY_POINTS:
        if entry not in entries.splitlines():
            yield f"lacks the entry point {entry}"
    if "\nLicense-Expression: Apache-2.0\n" not in metadata:
        yield "does not say its licence"


def sdist_faults(path: Path) -> Iterator[str]:
    """Yield what an sdist lacks, and what should not be in it."""
    with tarfile.open(path) as sdist:
        members = sdist.getmembers()
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    yield from (f"{member.name}: no file" for member in members if not member.isfile())
    package = {name for name in names if name.startswith("gradflow/") or name == PLUGIN}
    yield from differences(package, source_files())
    yield from (f"lacks {name}" for name in NEEDED if name not in names)
    yield from (f"stray {name}" for name in sorted(names) if STRAY.search(name) and "/" in name)
    tops = {name.split("/")[0] for name in names if "/" in name}
    yield from (f"lacks the folder {name}" for name in sorted(FOLDERS - tops))
    yield from (f"stray folder {name}" for name in sorted(tops - FOLDERS))


def differences(found: Iterable[str], wanted: Iterable[str]) -> Iterator[str]:
    """Yield the files that are missing and those that are too many."""
    yield from (f"lacks {name}" for name in sorted(set(wanted) - set(found)))
    yield from (f"stray {name}" for name in sorted(set(found) - set(wanted)))


def main() -> int:
    """Inspect the newest of each; print its faults, and return whether there are any."""
    faults = 0
    for pattern, look in (("*.whl", wheel_faults), ("*.tar.gz", sdist_faults)):
        path = max(Path(sys.argv[1]).glob(pattern), key=lambda p: p.stat().st_mtime)
        found = list(look(path))
        faults += len(found)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(found)} faults")
        print("".join(f"  {line}\n" for line in found), end="")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
