"""Measuring a module that gradflow did not build, and leaving it as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.errors import GradflowError
from gradflow.recorder import Measurement, measure


def measure_module(
    model: nn.Module, inputs: Any, targets: Any, loss: Callable[..., Tensor] | None
) -> tuple[Measurement, int, bool]:
    """Run one pass; return what it gave, the number of examples, whether the loss is a mean.

    Raises
    ------
    GradflowError
        If there is no loss to be had from what was given, or no layer with weights.
    """
    if targets is None and loss is None:
        raise GradflowError(
            "diagnose(model, inputs) needs targets or a loss",
            "pass targets (cross-entropy is the default), or loss=lambda output: …",
        )
    arguments = inputs if isinstance(inputs, tuple | list) else (inputs,)
    criterion: Callable[..., Tensor] = F.cross_entropy if loss is None else loss

    def losses() -> Tensor:
        output = model(*arguments)
        return criterion(output) if targets is None else criterion(output, targets)

    with preserved(model):
        measured = measure(model, losses)
    first = next((a for a in arguments if isinstance(a, Tensor)), None)
    examples = len(first) if first is not None and first.dim() else 1
    return measured, examples, getattr(loss, "reduction", "mean") != "sum"


@contextlib.contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put buffers (running statistics) and the random state back after the block."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = {t.device for t in (*model.parameters(), *model.buffers()) if t.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    if name in buffers:
                        buffer.copy_(buffers[name])
