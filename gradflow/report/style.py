"""One look for every figure: type, colours, line styles. Importing it changes nothing."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.colors import to_hex, to_rgb

from gradflow.activations import ACTIVATIONS

#: Width of every figure in inches: a page's text width, and 92 dots per inch at 600 pixels.
WIDTH = 6.5
DPI = 200

#: Okabe & Ito (2008), without the yellow, which is lost on white paper.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY, BLACK = "#E69F00", "#CC79A7", "#56B4E9", "#000000"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
#: After these, for activations alone: told apart by lightness as well, and by their dashes.
MORE = (
    *("#332288", "#882255", "#999933", "#6BD1BD", "#8B5A2B", "#7B61FF", "#A50F15"),
    *("#999999", "#00562B", "#E7298A", "#2F4F5F", "#B8D200", "#F4A582"),
)
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))

GREY = "#6b6b6b"  # words and lines that stand back
PALE = "#e9e9e9"  # regions
FAULT = "#fbe3d6"  # layers at fault, chaos: vermillion, nearly white
ICE = "#dcebf5"  # order: blue, nearly white
DASHED: Any = (0, (4, 3))  # reference lines

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib and has σ ′ ∂ ₁ δ
    "font.size": 9,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "figure.dpi": 100,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlecolor": GREY,
    "axes.titlepad": 4,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.formatter.limits": (-4, 5),
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "lines.solid_capstyle": "butt",
    "savefig.dpi": DPI,
    "svg.hashsalt": "gradflow",
    "pdf.fonttype": 42,  # TrueType: text stays text
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in this style inside the block, whatever the user's matplotlibrc says."""
    # All but the backend, which is the user's and which rc_context would not put back.
    parameters: dict[Any, Any] = {**matplotlib.rcParamsDefault, **RC}
    del parameters["backend"]
    with matplotlib.rc_context(parameters):
        yield


def colour(activation: str) -> str:
    """Return the colour that an activation has in every figure, by its place in the registry."""
    tints = PALETTE + MORE
    return tints[_place(activation) % len(tints)]


def dashes(activation: str) -> Any:
    """Return the line style that tells activations of like colours apart."""
    return DASHES[_place(activation) // len(PALETTE) % len(DASHES)]


def shade(tint: str, place: int, count: int) -> str:
    """Return `tint`, lighter the further on its place is among so many of one kind."""
    share = 0.6 * place / max(count, 1)
    red, green, blue = (c + (1 - c) * share for c in to_rgb(tint))
    return to_hex((red, green, blue))


def ink(tint: str) -> str:
    """Return `tint` dark enough for small letters on white (contrast 4.5, WCAG 2.1 AA)."""
    red, green, blue = to_rgb(tint)
    share = 1.0
    while contrast((red * share, green * share, blue * share)) < 4.5:
        share -= 0.02
    return to_hex((red * share, green * share, blue * share))


def contrast(tint: Any) -> float:
    """Return the contrast ratio of a colour against white (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(tint)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def _place(activation: str) -> int:
    if activation in ACTIVATIONS:
        return list(ACTIVATIONS).index(activation)
    return zlib.crc32(activation.encode()) % (len(PALETTE) * len(DASHES))  # the same in every run
