"""Measure by how much two workers are faster than one: a sweep, and the trainings of a benchmark.

One worker and two take turns, on the same tasks, each task on one thread of torch. Every number is
of the whole command, the start of its processes included. How long that took, up to the first
result, is printed beside it, and the ratio of what was done a second from the first result to the
last, which a longer run comes nearer to. Seconds of processors that are far fewer than workers ×
seconds say that something else was running: one worker of the sweep takes about 30 s alone.

    python benchmarks/speedup.py                # both, less than three minutes on two free cores
    python benchmarks/speedup.py sweep --rounds 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gradflow.benchmarking.run import benchmark
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.sweep import SweepConfig
from gradflow.sweeps import sweep


class Took(NamedTuple):
    """Seconds of a run.

    Attributes
    ----------
    begin
        Until the first result.
    rate
        What share of the work a second did from there on.
    """

    whole: float
    processors: float
    begin: float
    rate: float


def timed(run: Callable[[Callable[[float], None]], object]) -> Took:
    """Run something that says what share of its work is done."""
    seen: list[tuple[float, float]] = []
    start, before = time.perf_counter(), sum(os.times()[:4])
    run(lambda share: seen.append((time.perf_counter(), share)))
    whole, processors = time.perf_counter() - start, sum(os.times()[:4]) - before
    (begun, first), (ended, last) = next(s for s in seen if s[1] > 0), seen[-1]
    return Took(whole, processors, begun - start, (last - first) / (ended - begun))


def of_sweep(points: int, workers: int) -> Took:
    """Measure networks of four depths and so many weight variances, with three seeds each."""
    config = SweepConfig(
        depths=(10, 20, 30, 40),
        weight_variances=tuple(0.5 + 2.5 * i / points for i in range(points)),
        widths=(128,),
        seeds=3,
        workers=workers,
    )
    return timed(lambda says: sweep(config, progress=lambda done, total: says(done / total)))


def of_benchmark(images: int, workers: int) -> Took:
    """Train the article's network with four activations, for one epoch each."""
    config = BenchmarkConfig(
        act=("relu", "elu", "selu", "gelu"),
        epochs=1,
        train_size=images,
        validation_size=500,
        device="cpu",
        workers=workers,
    )
    shares: dict[Any, float] = {}

    def run(says: Callable[[float], None]) -> object:
        def on_event(event: Any) -> None:
            if hasattr(event, "step"):
                shares[event.setting] = event.step / event.steps
                says(sum(shares.values()) / len(config.act))

        return benchmark(config, on_event)

    return timed(run)


MEASURED: dict[str, tuple[Callable[[int, int], Took], int]] = {
    "sweep": (of_sweep, 200),
    "benchmark": (of_benchmark, 3000),
}


def compare(name: str, size: int, rounds: int) -> tuple[float, float]:
    """Return how much faster two workers are: of the whole, and once they have begun."""
    measure = MEASURED[name][0]
    wholes, rates = [], []
    for _ in range(rounds):
        one, two = measure(size, 1), measure(size, 2)
        wholes.append(one.whole / two.whole)
        rates.append(two.rate / one.rate)
        print(f"  {name}: one worker {_said(one)}, two {_said(two)}", flush=True)
    return statistics.median(wholes), statistics.median(rates)


def _said(took: Took) -> str:
    return f"{took.whole:.1f} s ({took.begin:.1f} to begin, {took.processors:.1f} of processors)"


def main() -> None:
    """Print a line per round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MEASURED), metavar="sweep|benchmark")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--size", type=int, help="σ_w² of the sweep, training images")
    given = parser.parse_args()
    for name in given.names:
        whole, begun = compare(name, given.size or MEASURED[name][1], given.rounds)
        print(f"{name}: two workers are {whole:.2f} × as fast as one, {begun:.2f} × once begun")


if __name__ == "__main__":
    main()
