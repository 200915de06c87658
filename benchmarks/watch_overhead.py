"""What watching costs over the same plain training step, its optimizer included.

Every round times as many steps of each case, in a changing order and on one network: the plain
step (zero_grad, forward, backward, optimizer); the common way, every gradient's norm by `.item()`;
and `watch(model, optimizer=…)` with less and with all that it reads by default. The numbers are
medians over the rounds of each round's own ratios. Asked for, with all defaults: 1.15 at width
512 and batch 512, 1.5 at width 64 and batch 64. The first ten steps, of which everything is read,
are not timed: a case of its own times them alone.

    python benchmarks/watch_overhead.py [OPTIMIZER…]
"""

from __future__ import annotations

import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow

DEPTH = 10
WARM = 10  # steps before the clock starts: as many as `watch` reads in full
STEPS = 40  # in a block
SIZES = {512: 9, 64: 60}  # width and batch: rounds


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


def seconds(step: Callable[[], None]) -> float:
    """Return the time of one step, the mean over a block."""
    for _ in range(WARM):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


CASES: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "norm().item() of every parameter": None,
    "gradients": {"activations": False, "updates": False},
    "and activations": {"deltas": False, "updates": False},
    "and δ": {"updates": False},
    "and updates, as by default": {},
    "all at every step": {"sample_every": 1},
}


def block(
    case: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
) -> float:
    """Return the time of a step of one of `CASES`."""

    def step() -> None:
        plain(model, optimizer, inputs, labels)

    if case == "plain":
        return seconds(step)
    options = CASES[case]
    if options is None:
        return seconds(lambda: (step(), norms_by_item(model))[0])
    with gradflow.watch(model, optimizer=optimizer, **options):
        return seconds(step)


def ratios(width: int, rounds: int, name: str) -> dict[str, list[float]]:
    """Return every round's ratios to its plain step."""
    model, inputs, labels = network(width), torch.randn(width, width), torch.randint(10, (width,))
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-3)
    found: dict[str, list[float]] = {}
    cases = list(CASES)
    for turn in range(rounds):
        first = turn % len(cases)
        order = cases[first:] + cases[:first]
        times = {c: block(c, model, optimizer, inputs, labels) for c in order}
        for case in cases[1:]:
            found.setdefault(case, []).append(times[case] / times["plain"])
        found.setdefault("seconds", []).append(times["plain"])
    return found


def main() -> None:
    """Print the medians, with the middle half of the rounds."""
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}"
    )
    kinds = sys.argv[1:] or ["SGD", "Adam"]
    for kind, (width, rounds) in itertools.product(kinds, SIZES.items()):
        found = ratios(width, rounds, kind)
        base = statistics.median(found.pop("seconds"))
        print(
            f"{kind}, width {width}, batch {width}: plain step {1e3 * base:.3f} ms, "
            f"{rounds} rounds of {STEPS} steps"
        )
        for name, values in found.items():
            low, middle, high = statistics.quantiles(values, n=4)
            print(f"  {name:34} {middle:.3f}  (middle half {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
