"""Print the oldest of everything that pyproject.toml allows, as pins for pip.

python scripts/bounds.py [EXTRA ...]    # what gradflow needs, and what the extras need
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What the oldest need in their turn, no newer than they knew: they warn under what came later.
BENEATH = ("click==8.2.1", "pyparsing==3.2.0")
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest(extras: tuple[str, ...]) -> Iterator[str]:
    """Yield a pin for each requirement: its lower bound."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    needs = list(project["dependencies"])
    for extra in extras:
        needs += project["optional-dependencies"][extra]
    for requirement in map(Requirement, needs):
        (bound,) = (s.version for s in requirement.specifier if s.operator == ">=")
        yield f"{requirement.name}=={bound}"
    yield from BENEATH


if __name__ == "__main__":
    print("\n".join(oldest(tuple(sys.argv[1:]))))
