"""What measuring costs over the same plain forward and backward pass.

Every round times the plain pass, the watched one, and the watched one with activation statistics,
in a changing order, on one network; the numbers are medians over the rounds of each round's own
ratios. Asked for: 1.05 and 1.10 at width 512 and batch 512, 1.15 and 1.5 at width 64 and batch 64.

    python benchmarks/watch_overhead.py
"""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow

DEPTH = 10
SIZES = {512: 40, 64: 1500}  # width and batch: rounds


def network(width: int) -> nn.Sequential:
    """Return ten hidden layers of ReLU, as in the calls that users time."""
    torch.manual_seed(0)
    layers = [m for _ in range(DEPTH) for m in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def plain(model: nn.Module, inputs: Tensor, labels: Tensor, _: Any) -> None:
    """One forward and one backward pass."""
    model.zero_grad()
    F.cross_entropy(model(inputs), labels).backward()


def watched(model: nn.Module, inputs: Tensor, labels: Tensor, watch: Any) -> None:
    """The same, recorded."""
    plain(model, inputs, labels, None)
    watch.step()


def hooks_with_item(model: nn.Module, inputs: Tensor, labels: Tensor, _: Any) -> None:
    """The common way: after backward, every parameter's norm by `.item()`."""
    plain(model, inputs, labels, None)
    for p in model.parameters():
        if p.grad is not None:
            p.grad.norm().item()


def seconds(task: Callable[..., None], *arguments: Any) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    task(*arguments)
    return time.perf_counter() - start


def ratios(width: int, rounds: int) -> dict[str, list[float]]:
    """Return every round's ratios to the plain pass before it."""
    inputs, labels = torch.randn(width, width), torch.randint(10, (width,))
    found: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        cases: dict[str, tuple[Any, ...]] = {"plain": (plain, network(width), None)}
        cases["norm().item() of every parameter"] = (hooks_with_item, network(width), None)
        for name, activations in (("parameter gradients", False), ("and activations, δ", True)):
            model = network(width)
            watch = stack.enter_context(gradflow.watch(model, activations=activations))
            cases[name] = (watched, model, watch)
        for turn in range(-max(3, rounds // 10), rounds):
            names = list(cases)
            order = names[turn % len(names) :] + names[: turn % len(names)]
            times = {
                name: seconds(cases[name][0], cases[name][1], inputs, labels, cases[name][2])
                for name in order
            }
            if turn >= 0:
                for name in names:
                    found.setdefault(name, []).append(times[name] / times["plain"])
                found.setdefault("seconds", []).append(times["plain"])
    return found


def main() -> None:
    """Print the medians, with the middle half of the rounds."""
    print(f"torch {torch.__version__}, Python {platform.python_version()}, "
          f"{torch.get_num_threads()} threads, {platform.machine()}")  # fmt: skip
    for width, rounds in SIZES.items():
        found = ratios(width, rounds)
        base = statistics.median(found.pop("seconds"))
        print(f"width {width}, batch {width}: plain pass {1e3 * base:.3f} ms, {rounds} rounds")
        for name, values in found.items():
            if name != "plain":
                low, middle, high = statistics.quantiles(values, n=4)
                print(f"  {name:34} {middle:.3f}  (middle half {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
