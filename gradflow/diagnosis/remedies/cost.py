"""What a training step costs, by counting: the same on every run, unlike a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.measurement.hooks import Hooks, first_tensor
from gradflow.measurement.modules import own_parameters
from gradflow.networks.layers import ReplicatedConv

#: Seconds that an operation with its gradient, a multiplication and an entry take on a slow core.
_CALL, _FLOP, _ENTRY = 30e-6, 5e-11, 4e-9
#: A pass forwards and back multiplies three times as often as one forwards.
_BOTH = 3


def step_cost(model: nn.Module, run: Callable[[nn.Module], Tensor], *, replicas: int = 1) -> float:
    """Return about how many seconds a training step of `model`, a copy, takes on a slow core.

    Parameters
    ----------
    run
        The loss of a forward pass.
    replicas
        In each parameter, along its first axis.
    """
    products = 0.0

    def count(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal products
        made, weights = first_tensor(output), own_parameters(module).values()
        if made is not None and made.dim():
            entries = sum(w.numel() for w in weights if w.dim() > 1)
            products += entries * made.numel() / made.shape[_channel(module)] / replicas

    with Hooks() as hooks, torch.inference_mode(False), torch.enable_grad():
        for module in model.modules():
            hooks.after_forward(module, count)
        operations = sum(1 for _ in _graph(run(model)))
    entries = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return operations * _CALL + _BOTH * 2 * products * _FLOP + entries * _ENTRY


def _channel(module: nn.Module) -> int:
    """The axis of a layer's units."""
    if isinstance(module, ReplicatedConv):
        return 2
    return 1 if isinstance(module, nn.modules.conv._ConvNd) else -1


def _graph(loss: Tensor) -> Iterator[Any]:
    """Every operation that the loss came from."""
    seen: set[Any] = set()
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]
