"""Initialisers by name: the variance of a weight, its distribution, and the biases' rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradflow.errors import unknown_name

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Initializer:
    """How the weights and biases of one layer are drawn.

    Attributes
    ----------
    variance
        (fan_in, fan_out) -> variance of one weight.
    distribution
        ``"normal"``, ``"uniform"`` or ``"orthogonal"``.
    bias_variance
        fan_in -> variance of one bias.
    bias_distribution
        ``"normal"`` or ``"uniform"``.
    bias_mean
        Added to every bias.
    """

    variance: Callable[[int, int], float]
    distribution: str = "normal"
    bias_variance: Callable[[int], float] = lambda _: 0.0
    bias_distribution: str = "normal"
    bias_mean: float = 0.0


def _he(fan_in: int, _: int) -> float:
    return 2.0 / fan_in


def _xavier(fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out)


def _lecun(fan_in: int, _: int) -> float:
    return 1.0 / fan_in


def _third(fan_in: int, _: int = 0) -> float:
    return 1.0 / (3.0 * fan_in)


def _orthogonal(fan_in: int, fan_out: int) -> float:
    return 1.0 / max(fan_in, fan_out)


#: He et al. 2015, Glorot & Bengio 2010, LeCun et al. 1998, Saxe et al. 2014;
#: ``default`` is torch.nn.Linear's own, U(±1/√fan_in) for weights and biases.
INITIALIZERS: dict[str, Initializer] = {
    "default": Initializer(_third, "uniform", _third, "uniform"),
    "xavier-normal": Initializer(_xavier),
    "xavier-uniform": Initializer(_xavier, "uniform"),
    "he-normal": Initializer(_he),
    "he-uniform": Initializer(_he, "uniform"),
    "lecun-normal": Initializer(_lecun),
    "lecun-uniform": Initializer(_lecun, "uniform"),
    "orthogonal": Initializer(_orthogonal, "orthogonal"),
}

_ALIASES = {"kaiming": "he", "glorot": "xavier", "pytorch": "default", "torch": "default"}


def initializer(name: str) -> Initializer:
    """Return the named initialiser (``kaiming-normal`` and the like are accepted).

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    head, *tail = name.lower().replace("_", "-").split("-")
    known = INITIALIZERS.get("-".join([_ALIASES.get(head, head), *tail]))
    if known is None:
        raise unknown_name("initialisation", name, INITIALIZERS)
    return known


def configured(
    name: str,
    gain: float = 1.0,
    weight_variance: float | None = None,
    bias_variance: float | None = None,
    bias_mean: float = 0.0,
) -> Initializer:
    """Return the named initialiser with σ_w², σ_b², a gain and a bias mean put over it."""
    base = initializer(name)
    weights = base.variance
    distribution = base.distribution
    if weight_variance is not None:
        variance = weight_variance

        def weights(fan_in: int, _: int) -> float:
            return variance / fan_in

        distribution = "normal"
    biases, bias_distribution = base.bias_variance, base.bias_distribution
    if bias_variance is not None:
        of_bias = bias_variance

        def biases(_: int) -> float:
            return of_bias

        bias_distribution = "normal"
    return Initializer(
        lambda fan_in, fan_out: gain**2 * weights(fan_in, fan_out),
        distribution,
        biases,
        bias_distribution,
        bias_mean,
    )


def initialize(
    weight: Tensor,
    bias: Tensor | None,
    how: Initializer,
    generators: Sequence[Generator],
    *,
    fan_in: int | None = None,
    gates: int = 1,
) -> None:
    """Draw replicated parameters in place, replica r from generator r.

    Parameters
    ----------
    weight
        (replicas, fan_out, fan_in).
    bias
        (replicas, fan_out) or None.
    generators
        One per replica, on the CPU: the numbers are the same on every device.
    fan_in
        That variances are for, where it is not the weight's own.
    gates
        How many matrices lie under one another in the weight; each is drawn alone.
    """
    for replica, generator in enumerate(generators):
        for matrix in weight[replica].chunk(gates):
            initialize_layer(matrix, None, how, generator, fan_in)
        if bias is not None:
            _draw_bias(bias[replica], how, fan_in or weight.shape[2], generator)


def initialize_layer(
    weight: Tensor,
    bias: Tensor | None,
    how: Initializer,
    generator: Generator | None = None,
    fan_in: int | None = None,
) -> None:
    """Draw the parameters of one dense or convolutional layer in place.

    Parameters
    ----------
    weight
        (outputs, inputs) or (channels out, channels in, height, width).
    bias
        (outputs,) or None.
    generator
        On the CPU; None: torch's default one.
    fan_in
        That variances are for, where it is not the weight's own.
    """
    field_size = weight[0, 0].numel()  # of a kernel; 1 where dense
    fan_in, fan_out = fan_in or weight.shape[1] * field_size, weight.shape[0] * field_size
    _draw(weight, how.distribution, math.sqrt(how.variance(fan_in, fan_out)), generator)
    if bias is not None:
        _draw_bias(bias, how, fan_in, generator)


def _draw_bias(bias: Tensor, how: Initializer, fan_in: int, generator: Generator | None) -> None:
    _draw(bias, how.bias_distribution, math.sqrt(how.bias_variance(fan_in)), generator)
    bias += how.bias_mean


def _draw(tensor: Tensor, distribution: str, std: float, generator: Generator | None) -> None:
    """Fill `tensor` with entries of standard deviation `std`."""
    import torch

    if distribution == "orthogonal":
        # Rows or columns are orthonormal, so an entry's variance is 1/max(fan_in, fan_out).
        sides = tensor.shape[0], tensor[0].numel()
        torch.nn.init.orthogonal_(tensor, std * math.sqrt(max(sides)), generator)
    elif std == 0:
        tensor.zero_()
    elif distribution == "uniform":
        tensor.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=generator)
    else:
        tensor.normal_(0.0, std, generator=generator)
