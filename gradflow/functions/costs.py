"""What an activation costs: forward plus backward in torch, relative to ReLU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradflow.activations import ACTIVATIONS, activation

ENTRIES = 1 << 18
ROUNDS = 25


def relative_costs(progress: Callable[[int, int], None] | None = None) -> dict[str, float]:
    """Return every activation's time over ReLU's: the median ratio of interleaved rounds.

    Each round times all of them once on the same 2¹⁸ float32 numbers, ReLU right beside each,
    so that a machine whose speed drifts does not favour any.
    """
    inputs = torch.randn(ENTRIES, generator=torch.Generator().manual_seed(0)).requires_grad_()
    modules = {name: activation(name).module() for name in ACTIVATIONS}
    ratios: dict[str, list[float]] = {name: [] for name in modules}
    for done in range(-2, ROUNDS):  # two rounds to warm up
        for name, module in modules.items():
            reference = _seconds(modules["relu"], inputs)
            ratio = _seconds(module, inputs) / reference
            if done >= 0:
                ratios[name].append(ratio)
        if progress is not None:
            progress(max(done + 1, 0), ROUNDS)
    return {name: 1.0 if name == "relu" else statistics.median(r) for name, r in ratios.items()}


def _seconds(module: nn.Module, inputs: Tensor) -> float:
    start = time.perf_counter()
    torch.autograd.grad(module(inputs).sum(), inputs)
    return time.perf_counter() - start
