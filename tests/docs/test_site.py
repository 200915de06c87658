"""The documentation as a whole: links and anchors, the site and its notebook."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXTS = [
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
    if (DOCS / "auto_examples") not in path.parents
]
FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
NOTEBOOKS = sorted((DOCS / "examples").glob("*.ipynb"))


def prose(page: Path) -> str:
    """Return a page without its blocks of code, where brackets are no links."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts and the site make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    slugs = [re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-") for text in plain]
    again = {f"{slug}-{n}" for slug, count in Counter(slugs).items() for n in range(1, count)}
    return set(slugs) | again


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_an_anchor_that_exist(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#\s]*)(#([^)\s]*))?\)", prose(page)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file = (page.parent / target) if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_anchors_are_those_that_a_code_host_makes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `plot`, [twice](x.md)\n\n```sh\n# not one\n```\n\n## Same\n\n## Same\n")
    assert anchors(page) == {"a-plot-twice", "same", "same-1"}


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", DOCS / "_site" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_stands_in_the_site_once(pages: ModuleType) -> None:
    placed = Counter(page for part in pages.parts().values() for page in part)
    for page in pages.BENEATH.values():
        placed.update(pages.beneath(page))
    texts = {str(path.relative_to(ROOT).with_suffix("")) for path in (*TEXTS, *NOTEBOOKS)}
    assert texts - set(placed) == {"docs/index"}
    assert max(placed.values()) == 1


def test_a_page_of_unknown_place_stands_under_how_to(pages: ModuleType, tmp_path: Path) -> None:
    pages.DOCS = tmp_path
    (tmp_path / "new.md").write_text("# New\n")
    assert "docs/new" in pages.parts()["How to"]
    pages.DOCS = DOCS


def test_every_public_name_is_documented(pages: ModuleType) -> None:
    import gradflow

    text = "\n".join(pages.blocks("docs/api"))
    assert all(f":: gradflow.{name}\n" in text for name in set(gradflow.__all__) - {"__version__"})


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_runs(notebook: Path) -> None:
    """Its cells one after the other, without Jupyter; the site's build runs them in Jupyter."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 2
    names: dict[str, object] = {"__name__": "__main__"}
    for number, source in enumerate(code, 1):
        exec(compile(source, f"{notebook.name}, cell {number}", "exec"), names)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_no_network(tmp_path: Path) -> None:
    for package in ("sphinx", "furo", "myst_nb", "sphinx_gallery"):
        pytest.importorskip(package)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    command += ["-c", "docs", "-d", str(tmp_path / "doctrees"), ".", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(built) > len(TEXTS)
    for path, text in built.items():
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="(\w+://[^"]*)"', text)
        loaded += re.findall(r'<link[^>]* rel="stylesheet"[^>]* href="(\w+://[^"]*)"', text)
        assert loaded == [], path
