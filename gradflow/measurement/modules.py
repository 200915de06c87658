"""Which modules are layers and which activations."""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrize import ParametrizationList

from gradflow.measurement.preserving import random_states_kept
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
_HOLDERS = (nn.ParameterList, nn.ParameterDict)

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
    if isinstance(module, _NOT_LAYERS) or "_orig_mod" in module._modules:  # compiled: its inside
        return False
    below = (p for child in module.children() for p in child.parameters())
    whole = isinstance(module, nn.MultiheadAttention) or next(below, None) is None
    if isinstance(module, _HOLDERS):  # which is never called
        return False
    if whole or _has_weight(module) or _is_parametrized(module, "weight"):
        return bool(matrices(module))
    return False


def matrices(module: nn.Module) -> list[Tensor]:
    """Return what `module` multiplies by: all its own matrices, those that train if any does."""
    own: list[Tensor] = [
        p for n, p in module.named_parameters(recurse=False) if p.dim() >= 2 and "bias" not in n
    ]
    if _is_parametrized(module):
        originals = module.get_submodule("parametrizations").parameters()
        own += [p for p in originals if p.dim() >= 2]
    if isinstance(module, nn.MultiheadAttention):  # which calls no forward of its own child
        own.append(module.out_proj.weight)
    return [p for p in own if p.requires_grad] or own


def biases(module: nn.Module) -> list[Tensor]:
    """Return the biases of `module`."""
    if _has_weight(module) or _is_parametrized(module, "weight"):
        bias = own_parameter(module, "bias")
        return [] if bias is None else [bias]
    named = module.named_parameters(recurse=False)
    own: list[Tensor] = [p for n, p in named if "bias" in n and p.dim() == 1]
    if isinstance(module, nn.MultiheadAttention) and module.out_proj.bias is not None:
        own = [*own, module.out_proj.bias]
    return own


def _is_parametrized(module: nn.Module, name: str | None = None) -> bool:
    """Return whether a parameter, or that of a name, is computed; asks for no attribute."""
    if "parametrizations" not in module._modules:
        return False
    return name is None or name in cast("nn.ModuleDict", module._modules["parametrizations"])


def own_parameter(module: nn.Module, name: str) -> Tensor | None:
    """Return a parameter that `module` itself holds; nothing is computed for it."""
    named = module.named_parameters(recurse=False, remove_duplicate=False)
    return next((p for n, p in named if n == name), None)


def _has_weight(module: nn.Module) -> bool:
    weight = own_parameter(module, "weight")
    return weight is not None and weight.dim() >= 2


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
        with torch.no_grad(), random_states_kept():
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


def takes_hooks(module: nn.Module) -> bool:
    """Return whether hooks can be set on `module`: on a part of a script they cannot."""
    return not isinstance(module, torch.jit.ScriptModule)


def is_own_function(module: nn.Module) -> bool:
    """Return whether `module` is of somebody's own class and holds nothing, as activations do."""
    home = type(module).__module__
    if home.startswith(("torch.", "gradflow.")):
        return False
    return not any(True for _ in (*module.children(), *module.parameters(), *module.buffers()))


class OwnActivation:
    """Tells whether a module is an activation by what goes in and comes out, without calling it.

    Attributes
    ----------
    answer
        None until a call has told.
    """

    #: Entries that are compared.
    _SOME = 512

    def __init__(self) -> None:
        self.answer: bool | None = None
        self._inputs: Tensor | None = None

    def before(self, inputs: Tensor) -> bool:
        """Take the input of a call; return whether it may be one of an activation."""
        if self.answer is None and inputs.is_floating_point() and inputs.numel():
            self._inputs = self._sampled(inputs)
            self._shape = inputs.shape
        return self.answer is not False

    def after(self, output: Any) -> bool:
        """Take its output; return whether the module is known to be an activation."""
        if self.answer is None and self._inputs is not None:
            same = isinstance(output, Tensor) and output.shape == self._shape
            self.answer = same and _bends(self._inputs, self._sampled(output))
            self._inputs = None
        return self.answer is True

    def _sampled(self, tensor: Tensor) -> Tensor:
        flat = tensor.detach().reshape(-1)
        return flat[:: max(len(flat) // self._SOME, 1)].double().cpu()


def _bends(x: Tensor, y: Tensor) -> bool:
    """Return whether y is a function of x, entry by entry, and not a straight line."""
    x, order = x.sort()
    y = y[order]
    scale = float(y.max() - y.min())
    if not math.isfinite(scale) or scale == 0:
        return False
    steep = y.diff().abs() > 20 * x.diff() + 1e-3 * scale
    centred = x - x.mean()
    line = centred * (centred @ (y - y.mean())) / (centred @ centred)
    off = (y - y.mean() - line).abs().max()
    return not steep.any() and float(off) > 1e-2 * scale
