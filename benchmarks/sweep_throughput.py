"""Measure how many points a second `gradflow sweep` does, beside one `diagnose` after the other.

Both measure the same networks, interleaved in one process, on one thread each; the median of the
rounds is printed, and the largest difference of the rates of δ.

    python benchmarks/sweep_throughput.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from gradflow.configs.network import NetworkConfig
from gradflow.configs.sweep import SweepConfig
from gradflow.diagnosis import diagnose
from gradflow.results.sweep import SweepRow
from gradflow.sweeps import sweep


def singly(row: SweepRow, config: SweepConfig) -> float:
    """Return the rate of one point, measured alone; NaN where there is none."""
    network = NetworkConfig(
        act=row.activation,
        depth=row.depth,
        width=row.width,
        weight_variance=row.weight_variance,
        bias_variance=row.bias_variance,
        batch_size=config.batch_size,
        seeds=config.seeds,
    )
    rate = diagnose(network).rate
    return float("nan") if rate is None else rate


def compare(config: SweepConfig, rounds: int, every: int) -> tuple[float, float, float]:
    """Return points a second of both ways, and the largest relative difference of the rates."""
    together, alone, difference = [], [], 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        rows = sweep(config).records
        together.append(len(rows) / (time.perf_counter() - start))
        some = rows[::every]
        start = time.perf_counter()
        rates = [singly(row, config) for row in some]
        alone.append(len(some) / (time.perf_counter() - start))
        pairs = [(a, b.rate) for a, b in zip(rates, some, strict=True) if b.rate]
        difference = max(difference, *(abs(a / b - 1) for a, b in pairs))
    return statistics.median(together), statistics.median(alone), difference


def main() -> None:
    """Print a line for each number of seeds and of units."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=11, help="measure each such point alone")
    parser.add_argument("--widths", default="32,64")
    parser.add_argument("--depths", default="5,10,20,40")
    given = parser.parse_args()
    torch.set_num_threads(1)
    depths = tuple(int(d) for d in given.depths.split(","))
    weights = tuple(0.5 + 0.1 * i for i in range(31))
    print("width  seeds  sweep points/s  diagnose points/s  ratio  largest difference of rates")
    for width in map(int, given.widths.split(",")):
        for seeds in (1, 3):
            config = SweepConfig(
                depths=depths, weight_variances=weights, widths=(width,), seeds=seeds
            )
            fast, slow, difference = compare(config, given.rounds, given.every)
            print(f"{width:5}  {seeds:5}  {fast:14.1f}  {slow:17.1f}  {fast / slow:5.1f}", end="")
            print(f"  {difference:.1e}")


if __name__ == "__main__":
    main()
