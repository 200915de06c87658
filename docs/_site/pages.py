"""Where each page stands in the site, added to the pages while it is built.

A page that is named nowhere here stands under "How to": no page is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradflow

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
#: The parts of the site, each with its pages in order.
PARTS: dict[str, tuple[str, ...]] = {
    "Start": ("docs/start", "docs/article", "docs/examples/first-steps"),
    "How to": (
        "docs/scripts-that-do-not-learn",
        "docs/watch-script",
        "docs/guide",
        "docs/any-model",
        "docs/initialisation",
        "docs/learning-rate",
        "docs/clipping",
        "docs/remedies",
        "docs/benchmark",
        "docs/sweep",
        "docs/width",
        "docs/architectures",
        "docs/ci",
        "docs/integrations",
        "docs/report",
        "docs/cluster",
    ),
    "Findings": ("docs/findings",),
    "Examples": ("docs/auto_examples/index", "docs/gallery"),
    "How it works": ("docs/formulas", "docs/papers"),
    "Reference": ("docs/reference", "docs/results", "docs/api"),
    "How good it is": (
        "docs/reliability",
        "docs/calibration",
        "docs/performance",
        "docs/models",
        "docs/faults",
    ),
    "The project": (
        "docs/architecture",
        "CONTRIBUTING",
        "CHANGELOG",
        "SECURITY",
        "docs/releasing",
        "README",
        "gradflow/data/LICENSE-MNIST",
    ),
}
#: Pages with pages beneath them.
BENEATH = {"docs/findings": "findings", "docs/article": "article"}
API = "docs/api"
FRONT = """<!doctype html>
<title>gradflow</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">gradflow</a>
"""


def add(app: Any) -> None:
    """Let Sphinx call what is here."""
    app.connect("source-read", complete)
    app.connect("build-finished", lead_to_the_front_page)


def complete(_: Any, page: str, source: list[str]) -> None:
    """Add to a page what the site shows beyond its text."""
    source[0] += "".join(f"\n{block}\n" for block in blocks(page))


def blocks(page: str) -> Iterator[str]:
    """Yield the blocks that a page gets: lists of pages, or the docstrings of functions."""
    if page == "docs/index":
        yield from (contents(entries, part) for part, entries in parts().items())
    if page in BENEATH:
        yield contents(tuple(beneath(BENEATH[page])))
    if page == API:
        names = set(gradflow.__all__) - {"__version__"}
        yield from map(documented, sorted(names, key=str.swapcase))  # functions first


def parts() -> dict[str, tuple[str, ...]]:
    """Return the parts with the pages that there are."""
    found = {part: tuple(filter(exists, entries)) for part, entries in PARTS.items()}
    placed = {page for entries in found.values() for page in entries} | {"docs/index"}
    rest = (f"docs/{path.stem}" for path in sorted(DOCS.glob("*.md")))
    found["How to"] += tuple(page for page in rest if page not in placed)
    return found


def beneath(folder: str) -> Iterator[str]:
    """Yield the pages of a folder of the docs."""
    for path in sorted((DOCS / folder).glob("*.md")):
        yield f"docs/{folder}/{path.stem}"


def exists(page: str) -> bool:
    """Return whether a page is there."""
    return any((ROOT / f"{page}{suffix}").exists() for suffix in (".md", ".ipynb", ".rst"))


def contents(entries: tuple[str, ...], caption: str = "") -> str:
    """Return the directive that places pages."""
    options = f":caption: {caption}\n" if caption else ""
    return f"```{{toctree}}\n:hidden:\n{options}\n" + "".join(f"/{x}\n" for x in entries) + "```"


def documented(name: str) -> str:
    """Return a public name's heading and the directive that shows its docstring."""
    kind = "class" if isinstance(getattr(gradflow, name), type) else "function"
    directive = f".. auto{kind}:: gradflow.{name}"
    return f"## gradflow.{name}\n\n```{{eval-rst}}\n{directive}\n```"


def lead_to_the_front_page(app: Any, failure: Exception | None) -> None:
    """Write the page that a visitor of the site's root gets."""
    if failure is None and app.builder.name == "html":
        (Path(app.outdir) / "index.html").write_text(FRONT, "utf-8")
