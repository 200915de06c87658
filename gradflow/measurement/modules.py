"""Which modules are layers and which activations."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from gradflow.networks.layers import ReplicatedNorm

_NOT_ELEMENTWISE = (
    nn.MultiheadAttention,
    nn.Softmax,
    nn.Softmax2d,
    nn.LogSoftmax,
    nn.Softmin,
    nn.GLU,
)
_NOT_LAYERS = (nn.Embedding, nn.EmbeddingBag, ParametrizationList, ReplicatedNorm)

#: Functions that activate where a model calls them itself instead of through a module.
FUNCTIONS: frozenset[Any] = frozenset(
    function
    for home, names in (
        (
            F,
            "relu relu_ relu6 elu elu_ selu selu_ celu leaky_relu leaky_relu_ gelu silu mish "
            "softplus softsign hardtanh hardtanh_ hardswish hardsigmoid logsigmoid tanh sigmoid "
            "threshold rrelu",
        ),
        (torch, "relu relu_ tanh tanh_ sigmoid sigmoid_ selu selu_ celu"),
        (Tensor, "relu relu_ tanh tanh_ sigmoid sigmoid_"),
    )
    for name in names.split()
    if (function := getattr(home, name, None)) is not None
)


def is_layer(module: nn.Module) -> bool:
    """Return whether `module` maps its input by a weight (dense, convolutional, recurrent, …)."""
    if isinstance(module, _NOT_LAYERS) or hasattr(module, "_orig_mod"):  # compiled: its inside
        return False
    whole = isinstance(module, nn.MultiheadAttention) or not any(True for _ in module.children())
    if whole or _has_weight(module) or is_parametrized(module, "weight"):
        return bool(matrices(module))
    return False


def matrices(module: nn.Module) -> list[Tensor]:
    """Return what `module` multiplies by: its weight, or all its own matrices."""
    if is_parametrized(module, "weight"):
        originals = module.get_submodule("parametrizations.weight").parameters()
        return [p for p in originals if p.dim() >= 2]
    if _has_weight(module):
        weight = module.weight
        assert isinstance(weight, Tensor)
        return [weight]
    own: list[Tensor] = [p for p in module.parameters(recurse=False) if p.dim() >= 2]
    if isinstance(module, nn.MultiheadAttention):  # which calls no forward of its own child
        own = [*own, module.out_proj.weight]
    return own


def own_matrices(module: nn.Module) -> list[Tensor]:
    """Return the matrices that `module` itself holds, whether or not it is a layer."""
    if any(True for _ in module.children()) and not hasattr(module, "weight"):
        whole = isinstance(module, nn.MultiheadAttention)
        own = matrices(module) if whole else list(module.parameters(recurse=False))
    else:
        own = matrices(module)
    return [p for p in own if p.dim() >= 2]


def biases(module: nn.Module) -> list[Tensor]:
    """Return the biases of `module`."""
    if _has_weight(module) or is_parametrized(module, "weight"):
        bias = getattr(module, "bias", None)
        return [bias] if isinstance(bias, Tensor) else []
    named = module.named_parameters(recurse=False)
    own: list[Tensor] = [p for n, p in named if "bias" in n and p.dim() == 1]
    if isinstance(module, nn.MultiheadAttention) and module.out_proj.bias is not None:
        own = [*own, module.out_proj.bias]
    return own


def _has_weight(module: nn.Module) -> bool:
    weight = None if is_parametrized(module) else getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.dim() >= 2


def is_activation(module: nn.Module) -> bool:
    """Return whether `module` is an elementwise activation function, whoever wrote it."""
    home = type(module).__module__
    if home == "torch.nn.modules.activation":
        return not isinstance(module, _NOT_ELEMENTWISE)
    if home.startswith("gradflow.activations"):
        return True
    return not home.startswith("torch.nn") and _is_elementwise(module)


def _is_elementwise(module: nn.Module) -> bool:
    """Try a copy: one input changed changes that output alone, and the map is not linear."""
    if any(True for _ in (*module.children(), *module.parameters(), *module.buffers())):
        return False
    x = torch.linspace(-3, 3, 13)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial = copy.deepcopy(module)
            y, moved = trial.forward(x.clone()), x.clone()
            moved[4] += 1
            other = trial.forward(moved)
    except Exception:  # whatever a foreign forward may raise: it is no activation
        return False
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        return False
    same = (y == other).nonzero().flatten().tolist()
    bends = (y[2:] - 2 * y[1:-1] + y[:-2]).abs().max() > 1e-4
    return same == [i for i in range(13) if i != 4] and bool(bends)


def normalizes_batch(model: nn.Module) -> bool:
    """Return whether a part of `model` normalises by the statistics of the batch."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and (module.training or module.running_mean is None)
        for module in model.modules()
    )
