"""Print by which power of the width Adam moves the layers of an MLP after each step.

`gradflow width` shows the steepest step alone. Each power is the mean over five seeds, with its
95 % interval.

    python benchmarks/coordinate_steps.py
"""

from __future__ import annotations

import argparse

from gradflow.configs.width import WidthConfig, WidthNetwork
from gradflow.widths.coordinates import trained
from gradflow.widths.rows import layers_of, slope
from gradflow.widths.subjects import BuiltIn


def powers(widths: tuple[int, ...], seeds: int) -> dict[str, list[str]]:
    """Return every layer's power after each step, in words."""
    config = WidthConfig(widths=widths)
    maker = BuiltIn(WidthNetwork(depth=2))
    networks = [
        trained(maker.start(width, seed, config), width, seed, config.steps)
        for seed in range(seeds)
        for width in widths
    ]
    return {
        name: [_said(slope(layers, lambda it, n=n: it.changes[n])) for n in range(config.steps)]
        for name, layers in layers_of(networks).items()
    }


def _said(found: tuple[float, float | None, float | None] | None) -> str:
    if found is None:
        return "–"
    mean, low, high = found
    return f"{mean:.2f}" if low is None else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", default="64,128,256,512,1024")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    found = powers(tuple(map(int, given.widths.split(","))), given.seeds)
    for name, by_step in found.items():
        print(f"{name:14}  " + "  ".join(f"{n}: {said}" for n, said in enumerate(by_step, 1)))


if __name__ == "__main__":
    main()
