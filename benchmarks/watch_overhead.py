"""What watching costs over the same plain training step, its optimizer included.

Each round times a run of 40 steps of every case, in a changing order and on one network: the plain
step (zero_grad, forward, backward, optimizer); the common way, every gradient's norm by `.item()`;
and `watch(model, optimizer=…)` with less and with all that it reads by default. The first twenty
steps, of which it samples six, are timed apart from the twenty that follow, of which it samples
one, as of all later ones. (What it reads of a whole batch, at steps 1 and 8, is among the first;
later it does so at steps 41, 81, 161 and so on, ever more rarely.) The numbers are medians over
the rounds of each round's own ratios. Asked for, of the later steps with all defaults: 1.15 at
width 512 and batch 512, 1.5 at width 64 and batch 64. Takes about four minutes on two cores.

    python benchmarks/watch_overhead.py [OPTIMIZER…]
"""

from __future__ import annotations

import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow

DEPTH = 10
FIRST, LATER = 20, 20  # steps of a run
SIZES = {512: 7, 64: 80}  # width and batch: rounds
CASES: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "norm().item() of every parameter": None,
    "gradients": {"activations": False, "updates": False},
    "and activations and δ": {"updates": False},
    "and updates, as by default": {},
}


def network(width: int) -> nn.Sequential:
    """Return ten hidden layers of ReLU, as in the calls that users time."""
    torch.manual_seed(0)
    layers = [m for _ in range(DEPTH) for m in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def plain(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> None:
    """One training step."""
    optimizer.zero_grad()
    F.cross_entropy(model(inputs), labels).backward()
    optimizer.step()


def norms_by_item(model: nn.Module) -> None:
    """The common way: after backward, every parameter's norm by `.item()`."""
    for p in model.parameters():
        if p.grad is not None:
            p.grad.norm().item()


def seconds(step: Callable[[], None], count: int) -> float:
    """Return the time of so many steps."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def run(
    case: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
) -> tuple[float, float]:
    """Return the times of the first and the later steps of one of `CASES`."""

    def step() -> None:
        plain(model, optimizer, inputs, labels)
        if case.startswith("norm()"):
            norms_by_item(model)

    options = CASES[case]
    watched = options is not None
    with gradflow.watch(model, optimizer=optimizer, **options) if watched else nullcontext():
        return seconds(step, FIRST), seconds(step, LATER)


def ratios(width: int, rounds: int, name: str) -> tuple[float, dict[str, list[list[float]]]]:
    """Return a plain step's seconds, and every round's ratios to it, of the first and the later."""
    model, inputs, labels = network(width), torch.randn(width, width), torch.randint(10, (width,))
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-3)
    found: dict[str, list[list[float]]] = {case: [[], []] for case in CASES}
    cases, plainly = list(CASES), []
    run("plain", model, optimizer, inputs, labels)
    for turn in range(rounds):
        first = turn % len(cases)
        order = cases[first:] + cases[:first]
        times = {c: run(c, model, optimizer, inputs, labels) for c in order}
        plainly.append(sum(times["plain"]) / (FIRST + LATER))
        for case, part in itertools.product(cases, (0, 1)):
            found[case][part].append(times[case][part] / times["plain"][part])
    return statistics.median(plainly), found


def main() -> None:
    """Print the medians, of the later steps with the middle half of the rounds."""
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}"
    )
    kinds = sys.argv[1:] or ["SGD", "Adam"]
    for kind, (width, rounds) in itertools.product(kinds, SIZES.items()):
        base, found = ratios(width, rounds, kind)
        print(
            f"{kind}, width {width}, batch {width}: plain step {1e3 * base:.3f} ms, {rounds} rounds"
        )
        for name, (first, later) in list(found.items())[1:]:
            low, middle, high = statistics.quantiles(later, n=4)
            print(
                f"  {name:34} {middle:.3f}  (middle half {low:.3f} to {high:.3f}), "
                f"first {FIRST} steps {statistics.median(first):.2f}"
            )


if __name__ == "__main__":
    main()
