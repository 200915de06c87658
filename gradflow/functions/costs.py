"""What an activation costs: forward plus backward in torch, relative to ReLU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradflow.activations import activation, every
from gradflow.executors.processes import torch_threads
from gradflow.results.activations import SCATTERED, Cost

ENTRIES = 1 << 18
ROUNDS = 25
#: Blocks of rounds that are measured at most, until the costs hold still.
BLOCKS = 3


def relative_costs(progress: Callable[[int, int], None] | None = None) -> dict[str, Cost]:
    """Return every activation's time over ReLU's, from interleaved rounds.

    Each round times all of them once on the same 2¹⁸ float32 numbers, ReLU right beside each,
    so that a machine whose speed drifts does not favour any. One thread is used: of two, one that
    has to wait for a processor would hold up the other. Where rounds differ much, more are made.
    """
    inputs = torch.randn(ENTRIES, generator=torch.Generator().manual_seed(0)).requires_grad_()
    modules = {name: activation(name).module() for name in every()}
    ratios: dict[str, list[float]] = {name: [] for name in modules}
    with torch_threads(1):
        for _ in range(2):  # to warm up
            _round(modules, inputs)
        for done in range(BLOCKS * ROUNDS):
            for name, ratio in _round(modules, inputs).items():
                ratios[name].append(ratio)
            if progress is not None:
                progress(done + 1, ROUNDS * (1 + done // ROUNDS))
            if (done + 1) % ROUNDS == 0 and _settled(ratios):
                break
    return {name: summary(r) for name, r in ratios.items()}


def _round(modules: dict[str, nn.Module], inputs: Tensor) -> dict[str, float]:
    """Return each module's time over that of a ReLU just before it."""
    found = {}
    for name, module in modules.items():
        reference = _seconds(modules["relu"], inputs)
        found[name] = 1.0 if name == "relu" else _seconds(module, inputs) / reference
    return found


def _settled(ratios: dict[str, list[float]]) -> bool:
    costs = [summary(r) for r in ratios.values()]
    return all(cost.high <= SCATTERED * cost.low for cost in costs)


def summary(ratios: list[float]) -> Cost:
    """Return the quartiles of the rounds' ratios."""
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Cost(median, low, high, len(ratios))


def _seconds(module: nn.Module, inputs: Tensor) -> float:
    """Return the shortest of three tries: what interrupts one makes it longer, never shorter."""
    tries = []
    for _ in range(3):
        start = time.perf_counter()
        torch.autograd.grad(module(inputs).sum(), inputs)
        tries.append(time.perf_counter() - start)
    return min(tries)
