"""A user's plain `nn.Sequential` as a built network, for the pass that cannot overflow."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from gradflow.activations import ACTIVATIONS, Activation, activation
from gradflow.networks.layers import Block, ReplicatedLinear


def converted(model: nn.Module) -> tuple[nn.Sequential, Activation] | None:
    """Return `model` as blocks of one replica, and its activation function.

    None unless it is an `nn.Sequential` of `nn.Linear`s with one known activation between them.
    """
    if not isinstance(model, nn.Sequential) or len(model) < 3:
        return None
    linears, others = list(model)[::2], list(model)[1::2]
    phi = known_activation(others[0])
    same = all(repr(other) == repr(others[0]) for other in others)
    if phi is None or not same or len(linears) != len(others) + 1:
        return None
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, linear in enumerate(linears):
        if not isinstance(linear, nn.Linear):
            return None
        dense = _replicated(linear)
        last = index == len(others)
        layers[str(index)] = dense if last else Block(dense, None, phi.module(), residual=False)
    return nn.Sequential(layers), phi


def known_activation(module: nn.Module) -> Activation | None:
    """Return the registered activation that a torch module computes, α included."""
    alpha = getattr(module, "negative_slope", getattr(module, "alpha", None))
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    for name in ACTIVATIONS:
        phi = activation(name)
        if phi.torch_class != type(module).__name__:
            continue
        if "alpha" in phi.parameters and isinstance(alpha, float):
            phi = activation(name, alpha=alpha)
        if torch.allclose(module(x.clone()), torch.from_numpy(phi(x.numpy())), atol=1e-6):
            return phi
    return None


def _replicated(linear: nn.Linear) -> ReplicatedLinear:
    dense = ReplicatedLinear(1, linear.in_features, linear.out_features, linear.weight.dtype)
    bias: Tensor = linear.bias if linear.bias is not None else torch.zeros(linear.out_features)
    with torch.no_grad():
        dense.weight.copy_(linear.weight.unsqueeze(0))
        dense.bias.copy_(bias.unsqueeze(0))
    return dense.to(linear.weight.device)
