"""Which modules are layers and which activations; the slope of an activation, by autograd."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_NOT_ELEMENTWISE = (
    nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU,
)  # fmt: skip


def is_layer(module: nn.Module) -> bool:
    """Return whether `module` maps its input by a weight (dense or convolutional)."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() >= 2 and not isinstance(module, nn.Embedding)


def is_activation(module: nn.Module) -> bool:
    """Return whether `module` is an elementwise activation function."""
    home = type(module).__module__
    ours = home.startswith("gradflow.activations")
    return (home == "torch.nn.modules.activation" or ours) and not isinstance(
        module, _NOT_ELEMENTWISE
    )


def slope(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return the derivative of an elementwise module at `inputs`, by autograd."""
    with torch.enable_grad():
        x = inputs.detach().clone().requires_grad_()  # a clone: the module may work in place
        y = module.forward(
            x * 1
        )  # forward, not call: no hooks; x * 1: a leaf cannot be overwritten
        (derivative,) = torch.autograd.grad(y.sum(), x)
    return derivative


def max_slope(module: nn.Module, like: Tensor) -> Tensor:
    """Return the largest |slope| of an elementwise module on [−8, 8], as a 0-d tensor."""
    grid = torch.linspace(-8, 8, 4001, dtype=like.dtype, device=like.device)
    return slope(module, grid).abs().max()
