"""Clipping policies by name: what each does to the gradients of one network, in place."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from gradflow.configs.choices import NONFINITE
from gradflow.configs.policies import POLICIES, every
from gradflow.configs.registries import loaded
from gradflow.errors import GradflowError, unknown_name
from gradflow.measurement.stats import accumulator
from gradflow.plugins import points

#: The parameters of a network, layer by layer.
Layers = Sequence[Sequence[nn.Parameter]]
#: Clips every ``.grad`` in place.
Clipper = Callable[[Layers], None]

_SMALLEST_WEIGHT_NORM = 1e-3  # ε of Brock et al. 2021, equation 3
_RECENT = 1000  # norms that autoclip remembers
_EXACT = 2.0**-64


def nothing(_: float) -> Clipper:
    """Clip nothing."""
    return lambda _: None


def by_value(threshold: float) -> Clipper:
    """Clip every entry to ± the threshold."""
    return lambda layers: nn.utils.clip_grad_value_(_all(layers), threshold)


def by_norm(threshold: float) -> Clipper:
    """Scale the whole gradient to a norm of the threshold."""
    return lambda layers: scale_to(_all(layers), threshold)


def by_layer(threshold: float) -> Clipper:
    """Scale each layer's gradient to a norm of the threshold."""

    def clip(layers: Layers) -> None:
        for layer in layers:
            scale_to(layer, threshold)

    return clip


def by_parameter(threshold: float) -> Clipper:
    """Scale each parameter's gradient to a norm of the threshold."""

    def clip(layers: Layers) -> None:
        for parameter in _all(layers):
            scale_to([parameter], threshold)

    return clip


def adaptive(limit: float) -> Clipper:
    """Clip units whose gradient is large beside their weights, in all layers but the last.

    Brock, De, Smith & Simonyan 2021, "High-performance large-scale image recognition without
    normalization", equation 3; the exception of the last layer is theirs too.
    """

    def clip(layers: Layers) -> None:
        for parameter in _all(layers[:-1] if len(layers) > 1 else layers):
            _clip_units(parameter, limit)

    return clip


def _clip_units(parameter: nn.Parameter, limit: float) -> None:
    """Bound ‖gradient‖/‖weight‖ of every row; a vector (biases) counts as one unit."""
    if parameter.grad is None:
        return
    axes = tuple(range(1, parameter.ndim)) or (0,)
    wide = accumulator(parameter.device)
    weight = vector_norm(parameter.detach(), 2, axes, keepdim=True, dtype=wide)
    gradient = vector_norm(parameter.grad, 2, axes, keepdim=True, dtype=wide)
    most = limit * weight.clamp_min(_SMALLEST_WEIGHT_NORM)
    scale = torch.where(gradient > most, most / gradient, 1.0)
    parameter.grad.mul_(scale.to(parameter.grad.dtype))


class AutoClip:
    """Scale to a percentile of the recent norms, this one among them.

    Seetharaman, Wichern, Pardo & Le Roux 2020, "AutoClip: adaptive gradient clipping for source
    separation networks". The first gradient it sees is its own percentile.
    """

    def __init__(self, percentile: float) -> None:
        if percentile > 100:
            raise GradflowError(f"autoclip takes a percentile up to 100, got {percentile:g}")
        self.percentile = percentile
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def __call__(self, layers: Layers) -> None:
        """Clip, and remember this norm."""
        parameters = _all(layers)
        self.recent.append(float(total_norm(parameters)))
        scale_to(parameters, float(np.percentile(self.recent, self.percentile)))


@dataclass(frozen=True)
class Clipping:
    """A policy with its limit: what ``--policy norm:5`` names.

    Attributes
    ----------
    label
        As it was asked for.
    limit
        Threshold; λ of ``agc``, the percentile of ``autoclip``; None for ``none``.
    """

    label: str
    name: str
    limit: float | None

    def clipper(self) -> Clipper:
        """Return a clipper that has seen nothing yet."""
        return make(self.name, self.limit or 0.0)


def make(name: str, limit: float) -> Clipper:
    """Return a new clipper of the named policy."""
    policy = POLICIES[name]
    try:
        clipper: Clipper = loaded(policy.make)(limit)
    except Exception as error:
        if isinstance(error, GradflowError) or policy.make not in points("policies").values():
            raise
        said = f"{type(error).__name__}: {error}".split("\n")[0]
        raise GradflowError(f"policy '{name}' of another package cannot be used: {said}") from error
    return clipper


def clipping(text: str, threshold: float) -> Clipping:
    """Return what ``NAME`` or ``NAME:LIMIT`` stands for.

    Raises
    ------
    GradflowError
        For an unknown name, and for a limit that is not a number above 0.
    """
    name, colon, given = (part.strip() for part in text.partition(":"))
    if name not in POLICIES and name not in every():
        raise unknown_name("policy", name, POLICIES)
    if name == "none":
        if colon:
            raise GradflowError(f"policy 'none' has no limit, got '{text}'", "--policy none")
        return Clipping(name, name, None)
    own = POLICIES[name].limit
    limit = _limit(text, given) if colon else threshold if own is None else own
    make(name, limit)  # refuses what it cannot take
    return Clipping(f"{name}:{given}" if colon else name, name, limit)


def _limit(text: str, given: str) -> float:
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise GradflowError(
            f"the limit of policy '{text}' must be a number above 0, got '{given}'",
            "like --policy norm:1",
        )
    return limit


def clip_gradients(clip: Clipper, layers: Layers, nonfinite: str = "refuse") -> bool:
    """Clip the gradients of `layers` in place; return whether they were finite.

    A NaN or an infinity never reaches another entry, as it does in ``clip_grad_norm_``.

    Parameters
    ----------
    nonfinite
        ``refuse`` leaves a gradient that is not finite as it is and raises; ``zero`` sets all of
        it to 0, so that the step is skipped.

    Raises
    ------
    GradflowError
        For another `nonfinite`; and where it is ``refuse`` and a gradient is not finite.
    """
    if nonfinite not in NONFINITE:
        raise unknown_name("treatment of non-finite gradients", nonfinite, NONFINITE)
    gradients = _gradients(_all(layers))
    if not gradients:
        return True
    if nn.utils.get_total_norm(gradients, math.inf).isfinite():
        clip(layers)
        return True
    if nonfinite == "refuse":
        raise GradflowError("a gradient is not finite", "a lower --lr, or --nonfinite zero")
    for gradient in gradients:
        gradient.zero_()
    return False


def scale_to(parameters: Sequence[nn.Parameter], threshold: float) -> None:
    """Scale all gradients by one factor to an L2 norm of at most `threshold`.

    Unlike ``clip_grad_norm_`` it leaves a norm within 10⁻⁶ below the threshold alone to the bit,
    and does not zero a gradient whose squares overflow its dtype.
    """
    total = total_norm(parameters)
    gradients = _gradients(parameters)
    while gradients and total * torch.finfo(gradients[0].dtype).tiny > threshold:
        for gradient in gradients:  # or the factor would be denormal: an exact one first
            gradient.mul_(_EXACT)
        total = total * _EXACT
    if total > threshold:
        nn.utils.clip_grads_with_norm_(parameters, threshold, total)


def total_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the L2 norm of all gradients together, summed in float64 and free of overflow."""
    gradients = _gradients(parameters)
    if not gradients:
        return torch.zeros(())
    total = _norm(gradients)
    if total.isinf():
        largest = nn.utils.get_total_norm(gradients, math.inf)
        total = _norm(gradients, largest) * largest
    return total


def _norm(gradients: Sequence[Tensor], unit: Tensor | None = None) -> Tensor:
    wide = accumulator(gradients[0].device)
    scaled = gradients if unit is None else [g / unit for g in gradients]
    norm: Tensor = vector_norm(torch.stack([vector_norm(g, dtype=wide) for g in scaled]))
    return norm


def _all(layers: Layers) -> list[nn.Parameter]:
    return [parameter for layer in layers for parameter in layer]


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
