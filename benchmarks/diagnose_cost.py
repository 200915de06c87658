"""What `diagnose` costs: many seeds at once against one after the other, and depth.

Interleaved, in one process each for the memory; ratios are medians over rounds.

    python benchmarks/diagnose_cost.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from gradflow import NetworkConfig, diagnose

ROUNDS = 5


def seconds(config: NetworkConfig) -> float:
    """Return the time of one diagnosis."""
    start = time.perf_counter()
    diagnose(config)
    return time.perf_counter() - start


def seeds() -> None:
    """32 seeds at once over 32 times one seed: asked for, at most a third."""
    many = NetworkConfig(device="cpu", depth=20, width=128, init="he-normal", seeds=32)
    singles = [replace(many, seeds=1, seed=seed) for seed in range(32)]
    seconds(many)
    ratios = [seconds(many) / sum(map(seconds, singles)) for _ in range(ROUNDS)]
    print(
        f"32 seeds at once / one by one: median {statistics.median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f})"
    )


def depth() -> None:
    """Time per layer at depth 10,000 over that at depth 100: asked for, at most 1.2.

    Sigmoid: δ falls to 10⁻⁸⁵⁰⁰, activations stay in float32's range. Where they do not (tanh of
    width 64 fades away over 10,000 layers), a second, scaled pass follows and doubles the time.
    """
    deep, shallow = (NetworkConfig(device="cpu", depth=d, act="sigmoid") for d in (10_000, 100))
    seconds(shallow)
    ratios = []
    for _ in range(3):
        short = statistics.median(seconds(shallow) for _ in range(10))
        ratios.append(seconds(deep) / 10_000 / (short / 100))
    print(
        f"time per layer, depth 10,000 / depth 100: median {statistics.median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f})"
    )


def memory() -> None:
    """Peak resident memory by depth, each in a process of its own."""
    for layers in (1, 2_500, 5_000, 10_000):
        done = subprocess.run(
            [sys.executable, __file__, "--peak", str(layers)],
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"peak memory at depth {layers:>6,}: {float(done.stdout):7.0f} MB")


def peak(layers: int) -> None:
    """Print this process's peak memory after one diagnosis, in MB."""
    diagnose(NetworkConfig(device="cpu", depth=layers, act="sigmoid"))
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    print(int(line.split()[1]) / 1024)  # getrusage would remember the parent's


def main() -> None:
    """Print all three."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    seeds()
    depth()
    memory()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        peak(int(sys.argv[2]))
    else:
        main()
