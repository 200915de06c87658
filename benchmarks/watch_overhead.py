"""What measuring costs over the same plain forward and backward pass.

Every round times as many steps of each case, in a changing order and on one network: the plain
pass; the common way, every gradient's norm by `.item()`; the watched one; with activation
statistics; with δ as well. What `watch` reads of many steps at once falls into every block. The
numbers are medians over the rounds of each round's own ratios. Asked for: 1.05, and 1.10 with
activation statistics, at width 512 and batch 512; 1.15 and 1.5 at width 64 and batch 64.

    python benchmarks/watch_overhead.py
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow

DEPTH = 10
STEPS = 24  # in a block: as many as `watch` reads at once
SIZES = {512: 25, 64: 200}  # width and batch: rounds


def network(width: int) -> nn.Sequential:
    """Return ten hidden layers of ReLU, as in the calls that users time."""
    torch.manual_seed(0)
    layers = [m for _ in range(DEPTH) for m in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def plain(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """One forward and one backward pass."""
    model.zero_grad()
    F.cross_entropy(model(inputs), labels).backward()


def norms_by_item(model: nn.Module) -> None:
    """The common way: after backward, every parameter's norm by `.item()`."""
    for p in model.parameters():
        if p.grad is not None:
            p.grad.norm().item()


def seconds(step: Callable[[], None]) -> float:
    """Return the time of one step, the mean over a block."""
    for _ in range(3):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


def block(case: str, model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the time of a step of one of `CASES`."""
    if case == "plain":
        return seconds(lambda: plain(model, inputs, labels))
    if case == "norm().item() of every parameter":
        return seconds(lambda: (plain(model, inputs, labels), norms_by_item(model))[0])
    activations, deltas = "gradients" not in case, "δ" in case
    with gradflow.watch(model, activations=activations, deltas=deltas) as watch:
        return seconds(lambda: (plain(model, inputs, labels), watch.step())[0])


CASES = (
    "plain",
    "norm().item() of every parameter",
    "parameter gradients",
    "and activation statistics",
    "and δ, as by default",
)


def ratios(width: int, rounds: int) -> dict[str, list[float]]:
    """Return every round's ratios to its plain pass."""
    model, inputs, labels = network(width), torch.randn(width, width), torch.randint(10, (width,))
    found: dict[str, list[float]] = {}
    for turn in range(rounds):
        first = turn % len(CASES)
        times = {c: block(c, model, inputs, labels) for c in CASES[first:] + CASES[:first]}
        for case in CASES[1:]:
            found.setdefault(case, []).append(times[case] / times["plain"])
        found.setdefault("seconds", []).append(times["plain"])
    return found


def main() -> None:
    """Print the medians, with the middle half of the rounds."""
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}"
    )
    for width, rounds in SIZES.items():
        found = ratios(width, rounds)
        base = statistics.median(found.pop("seconds"))
        print(
            f"width {width}, batch {width}: plain pass {1e3 * base:.3f} ms, {rounds} rounds of "
            f"{STEPS} steps"
        )
        for name, values in found.items():
            low, middle, high = statistics.quantiles(values, n=4)
            print(f"  {name:34} {middle:.3f}  (middle half {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
