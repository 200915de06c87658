"""The figures that gallery examples make, which are no pyplot figures."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_seen: set[int] = set()


def scrape(_: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save every figure that a block has given a name, once, and return what shows it."""
    names = block_vars["example_globals"].values()
    new = [x for x in names if isinstance(x, Figure) and id(x) not in _seen]
    paths = []
    for figure in new:
        _seen.add(id(figure))
        paths.append(next(block_vars["image_path_iterator"]))
        figure.savefig(paths[-1], dpi=100)
    return figure_rst(paths, gallery_conf["src_dir"]) if paths else ""
