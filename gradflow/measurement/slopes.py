"""The slope of an elementwise function, by autograd; which units have none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement.stats import below

Function = Callable[[Tensor], Tensor]

#: Saturated: a slope below this share of the activation's largest one.
SATURATION = 0.01
#: Share of the largest slope below which a unit passes no gradient.
DEAD_SLOPE = 1e-6
#: Entries whose slopes are taken at once.
_PART = 2**15


def slope(function: Function, inputs: Tensor) -> Tensor:
    """Return the derivative of an elementwise function at `inputs`, by autograd."""
    with torch.enable_grad(), _uncounted():
        x = inputs.detach().requires_grad_()
        own = x * 1  # it may work in place
        before = own.grad_fn
        y = function(own)
        node: Any = y.grad_fn
        if callable(node) and [n for n, _ in node.next_functions] == [before]:
            with torch.no_grad():
                derivative: Tensor = node(
                    y.new_ones(()).expand_as(y)
                )  # one formula needs no engine
        else:
            (derivative,) = torch.autograd.grad(y.sum(), x)
    return derivative


def slope_by_parts(function: Function, inputs: Tensor) -> Tensor:
    """Return the same of large inputs, part by part: of each, autograd keeps several copies.

    Only of a function to which every entry is like any other.
    """
    if inputs.numel() <= _PART:
        return slope(function, inputs)
    flat = inputs.detach().reshape(-1)
    slopes = torch.empty_like(flat)
    for part, own in zip(torch.split(flat, _PART), torch.split(slopes, _PART), strict=True):
        own.copy_(slope(function, part))
    return slopes.view(inputs.shape)


_ATEN = torch.ops.aten
#: What autograd runs of torch's own activations, without a pass of them before: by their module,
#: which has its options, or by function.
_ALONE: dict[Any, Callable[[Tensor, Tensor, Any], Tensor]] = {
    nn.ReLU: lambda one, x, _: _ATEN.threshold_backward(one, x, 0),
    nn.SiLU: lambda one, x, _: _ATEN.silu_backward(one, x),
    nn.Hardswish: lambda one, x, _: _ATEN.hardswish_backward(one, x),
    nn.Hardsigmoid: lambda one, x, _: _ATEN.hardsigmoid_backward(one, x),
    nn.GELU: lambda one, x, gelu: _ATEN.gelu_backward(one, x, approximate=gelu.approximate),
    nn.LeakyReLU: lambda one, x, leaky: _ATEN.leaky_relu_backward(
        one, x, leaky.negative_slope, False
    ),
    nn.Tanh: lambda one, x, _: _ATEN.tanh_backward(one, x.tanh()),
    nn.Sigmoid: lambda one, x, _: _ATEN.sigmoid_backward(one, x.sigmoid()),
}
_ALONE |= dict.fromkeys((F.relu, torch.relu, Tensor.relu), _ALONE[nn.ReLU])
_TANH: tuple[Any, ...] = (F.tanh, torch.tanh, Tensor.tanh)
_ALONE |= dict.fromkeys(_TANH, _ALONE[nn.Tanh])
_ALONE |= dict.fromkeys((F.sigmoid, torch.sigmoid, Tensor.sigmoid), _ALONE[nn.Sigmoid])
_ALONE |= {F.silu: _ALONE[nn.SiLU], F.hardswish: _ALONE[nn.Hardswish]}


def has_formula(kind: Any) -> bool:
    """Return whether `known_slope` knows the activations of a kind."""
    return kind in _ALONE


@torch.no_grad()
def known_slope(kind: Any, function: Function, inputs: Tensor) -> Tensor | None:
    """Return `slope` of an activation of torch's own by its formula; None: of no other is it known.

    Parameters
    ----------
    kind
        The class of the module whose ``forward`` the function is, or torch's function.
    """
    formula = _ALONE.get(kind)
    if formula is None:
        return None
    one = torch.ones((), dtype=inputs.dtype).expand(inputs.shape)
    return formula(one, inputs.detach(), getattr(function, "__self__", None))


def node_of(inputs: Tensor) -> tuple[Any, int] | None:
    """Return what made an activation's inputs; None where no graph is made that may be asked.

    Hooks on saved tensors are somebody's, as a checkpoint's: it counts what is saved and read.
    """
    if inputs.grad_fn is None or _saving_is_hooked():
        return None
    return inputs.grad_fn, inputs.output_nr


@torch.no_grad()
def slope_at(output: Tensor, before: tuple[Any, int] | None) -> Tensor | None:
    """Return the slopes of an activation that ran, by its own node; None unless it is one of torch.

    Parameters
    ----------
    before
        `node_of` its inputs.
    """
    node: Any = output.grad_fn
    if before is None or not callable(node) or isinstance(node, BackwardCFunction):
        return None
    if node.next_functions != (before,):
        return None
    derivative: Tensor = node(output.new_ones(()).expand_as(output))
    return derivative


def _saving_is_hooked() -> bool:
    """Return whether somebody is told of what is saved for a backward pass, or may be."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is None or top(False) is not None  # torch 2.6 does not say


def _uncounted() -> contextlib.AbstractContextManager[Any]:
    """Return a context with hooks of our own: a checkpoint does not count what is saved there."""
    if not _saving_is_hooked():
        return contextlib.nullcontext()
    # Detached: an output that is saved as it is holds its node, which holds it, for ever.
    return saved_tensors_hooks(Tensor.detach, _itself)


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def max_slope(function: Function, like: Tensor) -> Tensor:
    """Return the largest |slope| of an elementwise function on [−8, 8], as a 0-d tensor."""
    grid = torch.linspace(-8, 8, 4001, dtype=like.dtype, device=like.device)
    return slope(function, grid).abs().max()


def saturated(slopes: Tensor, largest: Tensor) -> Tensor:
    """Return which entries of |slopes| are below 1 % of the activation's largest slope."""
    return below(slopes, SATURATION * largest)


def dead_units(slopes: Tensor, layer: nn.Module | None, largest: Tensor | None = None) -> Tensor:
    """Return which units have next to no slope for every example and at every position.

    Parameters
    ----------
    slopes
        (replicas, examples, …), of either sign: a unit is a channel, the third axis after a
        convolution, the last one otherwise.
    layer
        What the activation's input came from.
    largest
        The activation's largest slope, of which a dead unit has less than a millionth: so it does
        not depend on which formula of GELU rounds to 0. None: a dead unit has slope 0.

    Returns
    -------
    Tensor
        (replicas, units), boolean.
    """
    if slopes.dim() == 2:  # a single example without an axis of its own
        slopes = slopes.unsqueeze(1)
    channel = 2 if "Conv" in type(layer).__name__ and slopes.dim() > 3 else -1
    kept = (0, channel % slopes.dim())
    others = tuple(axis for axis in range(slopes.dim()) if axis not in kept)
    if not slopes.numel():
        return slopes.new_ones([slopes.shape[axis] for axis in kept], dtype=torch.bool)
    low, high = slopes.amin(others), slopes.amax(others)
    if largest is None:
        return (low == 0) & (high == 0)
    return (low > -DEAD_SLOPE * largest) & (high < DEAD_SLOPE * largest)
