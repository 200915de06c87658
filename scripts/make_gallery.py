"""Make docs/gallery.md: the figure of every command at odd settings, and the commands.

    python scripts/make_gallery.py [NAME ...]   # those figures, and the page

Each command is run with -o FILE.png, as a reader would; its picture is then made smaller.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from typer.testing import CliRunner

from gradflow.cli.app import app

ROOT = Path(__file__).parents[1]
PAGE, IMAGES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"
#: Of a picture on the page: pixels across, and colours.
WIDTH, COLOURS = 780, 160
HEAD = """# Gallery: every command's figure at odd settings

What a figure looks like where there is one layer, or two hundred; one seed, or thirty; long names;
dead units; numbers that are not finite. `python scripts/make_gallery.py` makes the page and its
pictures; each command makes its picture with `-o FILE.png`.
"""


class Shown(NamedTuple):
    """A picture, the command that makes it, and what is odd about it."""

    name: str
    command: str
    words: str


GALLERY = (
    Shown("plot-two", "plot sigmoid tanh", "Two curves, never in one colour."),
    Shown(
        "plot-range", "plot gelu --range=-3:0", "The largest slope lies outside of what is drawn."
    ),
    Shown(
        "plot-all",
        "plot sigmoid relu elu leaky-relu selu gelu tanh softplus silu mish softsign hardtanh",
        "More curves than can be told apart have a panel each.",
    ),
    Shown(
        "eval",
        "eval relu --at=-2:2:0.5 --at 1e400",
        "Points on both sides of a kink, and one that is none.",
    ),
    Shown("activations", "activations", "All activations."),
    Shown(
        "chain-dead",
        "chain --act relu --pre-activations 1,-2,3 --weights 2,2",
        "A product that is 0.",
    ),
    Shown(
        "chain-long",
        "chain --act sigmoid --weights "
        + ",".join(["-1.5"] * 19)
        + " --pre-activations "
        + ",".join(["0"] * 20),
        "Twenty neurons, a sign that alternates.",
    ),
    Shown(
        "theory-edge",
        "theory tanh --weight-variance 1.5 --bias-variance 0.05",
        "Beside the edge of chaos.",
    ),
    Shown("theory-none", "theory gelu --depth 200", "No critical point, two hundred layers."),
    Shown(
        "theory-dead",
        "theory tanh --weight-variance 0 --depth 5",
        "Nothing of the gradient arrives.",
    ),
    Shown("diagnose-one", "diagnose --depth 1 --no-remedies", "One hidden layer."),
    Shown(
        "diagnose-deep",
        "diagnose --depth 200 --act tanh --width 32 --no-remedies",
        "Two hundred layers.",
    ),
    Shown(
        "diagnose-seeds",
        "diagnose --depth 12 --act relu --width 16 --seeds 30 --init he-normal --no-remedies",
        "Thirty seeds of a narrow network.",
    ),
    Shown(
        "diagnose-dead",
        "diagnose --depth 6 --act relu --bias-mean -10 --no-remedies",
        "Every unit is dead.",
    ),
    Shown(
        "diagnose-broken",
        "diagnose --depth 30 --act relu --init he-normal --gain 60 --no-remedies",
        "The forward pass leaves the range of numbers.",
    ),
    Shown(
        "diagnose-names",
        "diagnose --model docs/examples/networks.py:LongNames --input-shape 32 --no-remedies",
        "Layers with names, by role.",
    ),
    Shown("watch-pair", "watch docs/examples/train_pair.py", "Two models of one program."),
    Shown("watch-nan", "watch docs/examples/diverging.py", "Gradients that are not finite."),
    Shown(
        "lr", "lr --depth 4 --act relu --init he-normal --seeds 3", "A learning-rate range test."
    ),
    Shown(
        "clip-alike",
        "clip --policy none --policy norm:1e9 --policy value:1e9 --policy norm"
        " --steps 60 --seeds 1",
        "Policies that do nothing: one line.",
    ),
    Shown(
        "clip-diverging",
        "clip --steps 60 --lr 0.5",
        "Training that diverges without clipping.",
    ),
    Shown("width", "width --widths 16,32,64,128 --depth 3", "Four widths."),
    Shown(
        "sweep",
        "sweep --act tanh --depths 1,50,200 --weight-variances 0.5:4:0.5 --widths 32",
        "Three depths, a map of verdicts.",
    ),
    Shown(
        "benchmark-grid",
        "benchmark --arch mlp --act relu,sigmoid --lr 1e-3,1e-2,1 --train-size 256"
        " --validation-size 64 --epochs 3 --workers 1 --optimizer sgd",
        "A grid: the activation's colour, lighter for its further settings.",
    ),
    Shown(
        "benchmark-seeds",
        "benchmark --arch mlp --act relu,selu --train-size 128 --validation-size 32 --epochs 1"
        " --seeds 30 --workers 1",
        "One epoch, thirty seeds.",
    ),
)


def made(shown: Shown) -> int:
    """Run a command, put its picture in its place, smaller; return its size in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "figure.png"
        words = shlex.split(shown.command)
        place = ["-o", str(large)]
        words[1:1] = place  # what follows a script is the script's own
        done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
        if not large.exists():
            raise SystemExit(f"{shown.name}: {done.output[-500:]} {done.exception!r}")
        with Image.open(large) as image:
            size = (WIDTH, round(image.height * WIDTH / image.width))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    path = IMAGES / f"{shown.name}.png"
    small.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size


def page() -> str:
    """Return the page, in Markdown."""
    parts = [HEAD]
    for shown in GALLERY:
        parts.append(f"## {shown.words}\n\n```sh\ngradflow {shown.command}\n```\n")
        parts.append(f"![{shown.words}](images/gallery/{shown.name}.png)\n")
    return "\n".join(parts)


def main(asked: list[str]) -> None:
    """Make the pictures asked for, or all of them, and the page."""
    os.chdir(ROOT)
    IMAGES.mkdir(exist_ok=True)
    for shown in GALLERY:
        if not asked or shown.name in asked:
            print(f"{made(shown):>7,}  {shown.name}", flush=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
