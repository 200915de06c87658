"""Independent replicas in one module, seen one by one: for what acts on a network as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gradflow.clipping.policies import Layers
from gradflow.errors import GradflowError
from gradflow.measurement.stats import l2_norm


def layers_of(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters by the name of the module that holds them, in order."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
    return groups


@torch.no_grad()
def repeat(model: nn.Module, seeds: int, times: int) -> nn.Module:
    """Repeat the replicas of `model` in place, all of them and again all of them.

    Raises
    ------
    GradflowError
        If a parameter has no leading axis of `seeds` replicas.
    """
    for name, parameter in model.named_parameters():
        if parameter.shape[0] != seeds:
            raise GradflowError(f"clip cannot train this architecture: {name} has no replicas")
        parameter.grad = None
        parameter.data = parameter.data.repeat(times, *[1] * (parameter.ndim - 1))
    return model


class Replicas:
    """The replicas of a module as networks of their own, which share its memory.

    Attributes
    ----------
    layers
        For every replica its parameters, layer by layer, without the axis of replicas.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        self._whole = [p for layer in layers_of(model).values() for p in layer]
        groups = layers_of(model).values()
        self.layers: list[Layers] = [
            [[nn.Parameter(p.detach()[replica]) for p in layer] for layer in groups]
            for replica in range(count)
        ]

    def take_gradients(self, replicas: Iterable[int]) -> None:
        """Give these replicas views of the module's gradients: what changes one, changes both."""
        parts = [None if p.grad is None else p.grad.unbind(0) for p in self._whole]
        for replica in replicas:
            own = (p for layer in self.layers[replica] for p in layer)
            for parameter, part in zip(own, parts, strict=True):
                parameter.grad = None if part is None else part[replica]

    def norms(self) -> Tensor:
        """Return the L2 norm of every replica's gradient, (replicas,), summed in float64."""
        squares = [l2_norm(p.grad).square() for p in self._whole if p.grad is not None]
        return torch.stack(squares).sum(0).sqrt()

    def zero(self, replica: int) -> None:
        """Set the gradient of one replica to 0."""
        for parameter in self._whole:
            if parameter.grad is not None:
                parameter.grad[replica].zero_()
