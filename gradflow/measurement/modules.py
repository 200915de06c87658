"""Which modules are layers and which activations."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrize import ParametrizationList

from gradflow.measurement import walks
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
#: Where a module keeps its hooks.
_HOOKS = frozenset(name for name in vars(nn.Module()) if "hooks" in name)

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
    if not module._parameters and not _is_parametrized(module):  # as most parts
        return False
    if isinstance(module, _NOT_LAYERS) or "_orig_mod" in module._modules:  # compiled: its inside
        return False
    if isinstance(module, _HOLDERS) or not matrices(module):  # a holder is never called
        return False
    if isinstance(module, nn.MultiheadAttention) or _has_weight(module):
        return True
    return _is_parametrized(module, "weight") or not _has_parameters_below(module)


def _has_parameters_below(module: nn.Module) -> bool:
    below = (part for child in module.children() for part in walks.parts(child))
    return any(own_parameters(part) for part in below)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return what `module` itself holds, by name, each once; walks through nothing."""
    named: dict[int, tuple[str, nn.Parameter]] = {}
    for name, parameter in module._parameters.items():
        if parameter is not None:
            named.setdefault(id(parameter), (name, parameter))
    return dict(named.values())


def matrices(module: nn.Module) -> list[Tensor]:
    """Return what `module` multiplies by: all its own matrices, those that train if any does."""
    own: list[Tensor] = [
        p for n, p in own_parameters(module).items() if p.dim() >= 2 and "bias" not in n
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
    named = own_parameters(module).items()
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
    own = module._parameters
    return own[name] if name in own else None  # noqa: SIM401 (a script's has no `get`)


def _has_weight(module: nn.Module) -> bool:
    weight = own_parameter(module, "weight")
    return weight is not None and weight.dim() >= 2


def is_activation(
    module: nn.Module, tried: dict[Any, bool] | None = None, *, kept: bool = False
) -> bool:
    """Return whether `module` is an elementwise activation function, whoever wrote it.

    Somebody's own is tried out.

    Parameters
    ----------
    tried
        What trying out other modules gave, which is not done twice for the same.
    kept
        Whether the caller puts the random states back.
    """
    home = type(module).__module__
    if home == "torch.nn.modules.activation":
        return not isinstance(module, _NOT_ELEMENTWISE)
    if home.startswith("gradflow.activations"):
        return True
    if home.startswith("torch.nn") or not _holds_nothing(module):
        return False
    key, tried = signature(module), {} if tried is None else tried
    if key is None:
        return _is_elementwise(module, kept=kept)
    if key not in tried:
        tried[key] = _is_elementwise(module, kept=kept)
    return tried[key]


def _holds_nothing(module: nn.Module) -> bool:
    """Return whether `module` has neither parts nor parameters nor buffers."""
    held = (module._modules, module._parameters, module._buffers)
    return all(value is None for own in held for _, value in own.items())


#: Attributes of these kinds are all that a module does is told by.
_SIMPLE = (bool, int, float, str, type(None), FunctionType, BuiltinFunctionType)


def signature(module: nn.Module) -> Any:
    """Return what two modules that hold nothing do the same by; None where that is not known."""
    if not _holds_nothing(module):
        return None
    own = {n: v for n, v in vars(module).items() if n not in _HOOKS and not _is_empty(v)}
    if any(type(value) not in _SIMPLE for value in own.values()):
        return None
    return type(module), tuple((n, type(v), repr(v)) for n, v in own.items())


def known_by(function: Any) -> Any:
    """Return what two activation functions do the same by; None where that is not known.

    Parameters
    ----------
    function
        The ``forward`` of a module, or a function of torch's with its further arguments.
    """
    module = getattr(function, "__self__", None)
    if isinstance(module, nn.Module):
        return signature(module)
    if not isinstance(function, functools.partial):
        return None
    name, arguments, keywords = function.args
    values = (*arguments, *keywords.values())
    simple = all(type(value) in _SIMPLE for value in values)
    return (name, repr(arguments), repr(keywords)) if simple else None


def is_torchs_own(key: Any) -> bool:
    """Return whether what is `known_by` this is torch's and draws no random numbers."""
    if key is None or key[0] in (F.rrelu, nn.RReLU):
        return False
    return key[0] in FUNCTIONS or key[0].__module__ == "torch.nn.modules.activation"


def trial_copy(module: nn.Module) -> nn.Module:
    """Return a copy of `module`, whose `forward` may be called; hooks are left out if possible."""
    kind = type(module)
    own_way = hasattr(kind, "__deepcopy__") or kind.__setstate__ is not nn.Module.__setstate__
    if own_way or kind.__new__ is not nn.Module.__new__:
        return copy.deepcopy(module)
    trial: nn.Module = kind.__new__(kind)
    known = {id(module): trial}
    for name, value in vars(module).items():
        fresh = name in _HOOKS or _is_empty(value)
        trial.__dict__[name] = type(value)() if fresh else copy.deepcopy(value, known)
    return trial


def _is_empty(value: Any) -> bool:
    return type(value) in (dict, OrderedDict, set, list, tuple) and not value


def _is_elementwise(module: nn.Module, *, kept: bool) -> bool:
    """Try a copy: the map is not linear, and one input changed changes that output alone.

    Two are changed, one after the other: where one of them is, ReLU is flat; the other becomes
    the largest of all.
    """
    x = torch.linspace(-3, 3, 13)
    try:
        with contextlib.nullcontext() if kept else random_states_kept(), torch.no_grad():
            trial = trial_copy(module)
            y = trial.forward(x.clone())
            return _may_be_one(y, x) and _apart(trial, x, y)
    except Exception:  # whatever a foreign forward may raise: it is no activation
        return False


def _may_be_one(y: Any, x: Tensor) -> bool:
    """Return whether the outputs y of a trial are numbers that bend over its inputs x."""
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        return False
    return bool((y[2:] - 2 * y[1:-1] + y[:-2]).abs().max() > 1e-4)


def _apart(trial: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Return whether one input of a trial that is changed changes its own output alone."""
    others = []
    for place in (4, 9):
        moved = x.clone()
        moved[place] += 2
        others.append((trial.forward(moved) != y).nonzero().flatten().tolist())
    return others in ([[4], [9]], [[], [9]], [[4], []])


def normalizes_batch(model: nn.Module) -> bool:
    """Return whether a part of `model` normalises by the statistics of the batch."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and (module.training or module.running_mean is None)
        for module in walks.parts(model)
    )


def takes_hooks(module: nn.Module) -> bool:
    """Return whether hooks can be set on `module`: on a part of a script they cannot."""
    return not isinstance(module, torch.jit.ScriptModule)


def is_own_function(module: nn.Module) -> bool:
    """Return whether `module` is of somebody's own class and holds nothing, as activations do."""
    home = type(module).__module__
    return not home.startswith(("torch.", "gradflow.")) and _holds_nothing(module)


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
