"""The documentation site: `make docs-site` builds it from the Markdown pages, strictly.

The source folder is the project's root, so that a link from one page to another, to the README or
to a program is the same on a code host and in the site. What the site adds to the pages (where
each stands, public functions with their docstrings) is added here while it is built: the pages stay
plain Markdown.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_site"), str(DOCS / "examples")]

import formulas  # noqa: E402
import pages  # noqa: E402
from pictures import scrape  # noqa: E402

import gradflow  # noqa: E402

project = "gradflow"
version = release = gradflow.__version__
project_copyright = author = "the gradflow authors"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
root_doc = "docs/index"
include_patterns = ["docs/**", "*.md", "gradflow/data/*.md"]
exclude_patterns = [
    "docs/_site",
    "docs/examples/gallery",
    "docs/auto_examples/*.ipynb",
    "docs/runs",
]

# Markdown: anchors as a code host makes them, formulas between dollar signs.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_allow_digits = False
html_math_renderer = formulas.NAME

# The notebook is run each time; what fails there fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

sphinx_gallery_conf = {
    "examples_dirs": "docs/examples/gallery",
    "gallery_dirs": "docs/auto_examples",
    "image_scrapers": (scrape,),
    "capture_repr": (),
    "download_all_examples": False,
    "abort_on_example_error": True,
    "write_computation_times": False,
}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
suppress_warnings = ["config.cache"]  # a function in sphinx_gallery_conf

html_theme = "furo"
html_title = "gradflow"
html_show_sphinx = False
html_copy_source = False
html_static_path: list[str] = []


def setup(app: object) -> None:
    """Add what the site has beyond the pages."""
    formulas.add(app)
    pages.add(app)
