"""Look for known vulnerabilities and unwanted licences in what is pinned.

    python scripts/audit.py                 # of constraints.txt, installed in this environment

Exit code 0: looked at everything, found nothing. 1: found something. 3: found nothing, and could
not look at all of it (offline, or a package that is not installed here); a line says at what.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOUND, NOT_LOOKED = 1, 3
LICENCE = "License :: OSI Approved :: "
SECONDS = 300

#: SPDX names of licences under which gradflow may need a package: none asks anything of gradflow.
ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC"),
        *("LLVM-exception", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Zlib"),
    }
)
#: The same as classifiers write them, and as packages without one do.
CLASSIFIERS = frozenset(
    {
        "3-clause BSD",
        "Apache 2.0",
        "Apache Software License",
        "BSD",
        "BSD License",
        "ISC License (ISCL)",
        "MIT License",
        "Mozilla Public License 2.0 (MPL 2.0)",
        "Python Software Foundation License",
    }
)
#: Licences that were read, where what a package says of them is not the whole of it.
READ = {
    "axe-playwright-python": "MIT by its licence file; the axe-core within it is MPL-2.0",
    "docutils": "public domain, BSD, PSF; GPL is an editor's mode, which is not installed",
}


class Report(NamedTuple):
    """What one look found, and at what it could not look."""

    looked: int
    found: tuple[str, ...]
    not_looked: tuple[str, ...]


def pinned(path: Path) -> Iterator[Requirement]:
    """Yield the pins of a file that hold for this Python."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        requirement = Requirement(text) if text else None
        if requirement and (requirement.marker is None or requirement.marker.evaluate()):
            yield requirement


def licences(requirements: list[Requirement]) -> Report:
    """Return the packages whose licence is not on the list, or that give none."""
    found, missing = [], []
    for requirement in requirements:
        try:
            licence = licence_of(metadata.metadata(requirement.name))
        except metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if requirement.name not in READ and not allowed(licence):
            found.append(f"{requirement.name}: licence {licence or 'not given'}")
    return Report(len(requirements) - len(missing), tuple(found), tuple(missing))


def licence_of(meta: Any) -> str:
    """Return a package's licence: its SPDX expression, its classifiers, or its first line."""
    if expression := meta.get("License-Expression"):
        return str(expression)
    classifiers = [c.rsplit(" :: ", 1)[1] for c in meta.get_all("Classifier") or () if LICENCE in c]
    return "; ".join(classifiers) or str(meta.get("License") or "").strip().partition("\n")[0]


def allowed(licence: str) -> bool:
    """Return whether a licence is on the list: one of those to choose from, or all that hold."""
    if set(licence.split("; ")) <= CLASSIFIERS:
        return True
    nested = "(" in licence  # rare: then nothing is left to choose
    choices = [re.sub("[()]", "", licence)] if nested else licence.split(" OR ")
    return any(set(re.split(" AND | WITH | OR ", choice)) <= ALLOWED for choice in choices)


def vulnerabilities(path: Path) -> Report:
    """Ask pip-audit for what is known of the pins."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(path), "--no-deps", "--disable-pip"]
    command += ["--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return Report(0, (), ("the database of vulnerabilities",))
    found = tuple(
        f"{package['name']} {package['version']}: {known['id']}"
        for package in packages
        for known in package.get("vulns", ())
    )
    skipped = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Report(len(packages) - len(skipped), found, skipped)


def say(what: str, report: Report) -> None:
    """Print what a look found, and at what it could not look."""
    print(f"{what}: looked at {report.looked} packages, found {len(report.found)}")
    for line in report.found:
        print(f"  {line}")
    if report.not_looked:
        names = ", ".join(report.not_looked) if report.looked else "no answer"
        print(f"  could not look at {len(report.not_looked)}: {names}")


def main() -> int:
    """Look at both, say what was found, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=ROOT / "constraints.txt")
    path = parser.parse_args().path
    reports = {
        "licences": licences(list(pinned(path))),
        "vulnerabilities": vulnerabilities(path),
    }
    for what, report in reports.items():
        say(what, report)
    if any(report.found for report in reports.values()):
        return FOUND
    return NOT_LOOKED if any(report.not_looked for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
