"""`Activation`: what gradflow knows of one activation function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats, Formula
from gradflow.errors import GradflowError

if TYPE_CHECKING:
    from torch import nn


SATURATION = 0.01  # saturated: |f′| below this share of the largest slope
_BUSY = 40.0  # whatever an activation does, it does within ±40


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation function with its exact derivative.

    Equal and hashed by name and parameters. Callable on anything `numpy.asarray` takes.

    Attributes
    ----------
    name
        Canonical name (``"leaky-relu"``).
    formula, derivative_formula
        Both in Unicode, for people.
    value, slope
        f and f′ on float64 arrays of one dimension or more, without NaN; call the activation
        and `derivative` instead.
    range
        Infimum and supremum of f.
    torch_class
        Its module's class: a name in ``torch.nn``, ``"QuickGELU"``, or ``module:Class``.
    brackets
        Whether `range`'s ends are reached: ``"()"``, ``"[)"``, ``"[]"``.
    aliases
        Further names that `activation` takes.
    parameters
        Parameters by name (``{"alpha": 0.2}``), empty for most.
    kinks
        Where f′ jumps; f′ there is that of the left branch.
    monotonic
        Whether f never decreases.
    torch_arguments
        Keyword arguments of the torch class.
    family
        What makes the same activation with other parameters, or None without parameters.
    """

    name: str
    formula: str
    derivative_formula: str
    value: Formula = field(repr=False)
    slope: Formula = field(repr=False)
    range: tuple[float, float]
    torch_class: str
    brackets: str = "()"
    aliases: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    kinks: tuple[float, ...] = ()
    monotonic: bool = True
    torch_arguments: Mapping[str, float | str] = field(default_factory=dict)
    family: Callable[..., Activation] | None = field(default=None, repr=False)

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """Return f(x), float64, of x's shape; ``numpy.float64`` for a scalar. NaN stays NaN.

        It is NaN as well at an infinity where f has no limit, as a sine.
        """
        return _evaluate(self.value, x)

    def derivative(self, x: npt.ArrayLike) -> Floats:
        """Return f′(x), float64, of x's shape; ``numpy.float64`` for a scalar. NaN stays NaN."""
        return _evaluate(self.slope, x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, tuple[tuple[str, float], ...]]:
        return self.name, tuple(sorted(self.parameters.items()))

    @property
    def range_text(self) -> str:
        """The range in mathematical notation: ``(0, 1)``, ``[−0.375, ∞)``."""
        low, high = (f"{end:.4g}".replace("inf", "∞").replace("-", "−") for end in self.range)
        return f"{self.brackets[0]}{low}, {high}{self.brackets[1]}"

    @cached_property
    def max_slope(self) -> float:
        """The supremum of |f′|.

        The largest value on a grid over ±40, refined about its peak until the spacing no longer
        matters (f′ is flat there), beside both sides of each kink and the limits at ±∞, if any.
        """
        spacing = 0.01
        points = np.linspace(-_BUSY, _BUSY, 8001)
        for _ in range(4):
            peak = points[np.argmax(np.abs(self.derivative(points)))]
            points = np.linspace(peak - spacing, peak + spacing, 401)
            spacing /= 200
        limits = self.derivative(np.array([-np.inf, np.inf]))
        finite = self.derivative(np.concatenate([points, [0.0], self._kink_sides()]))
        return float(np.abs(np.concatenate([finite, limits[~np.isnan(limits)]])).max())

    def saturation(self, lo: float, hi: float) -> list[tuple[float, float]]:
        """Return the x-intervals within [lo, hi] where the activation is saturated.

        Saturated: |f′| is below 1 % of `max_slope`. The ends are exact to rounding and lie on
        the saturated side. Intervals are looked for in steps of 1/100 within ±40 and of
        (hi − lo)/4000: a narrower one (beside a zero of f′) may be missed.

        Raises
        ------
        GradflowError
            If lo and hi are not finite with lo < hi.
        """
        if not 0 < hi - lo < math.inf:
            raise GradflowError(f"no interval from {lo} to {hi}", "give two numbers, lower first")
        x = self._landmarks(lo, hi)
        saturated = self._saturated(x)
        left = np.flatnonzero(saturated[1:] != saturated[:-1])
        inside = np.where(saturated[left], x[left], x[left + 1])
        outside = np.where(saturated[left], x[left + 1], x[left])
        ends = self._bisect(inside, outside).tolist()
        ends = [*([lo] if saturated[0] else []), *ends, *([hi] if saturated[-1] else [])]
        return list(zip(ends[::2], ends[1::2], strict=True))

    def module(self, inplace: bool = False) -> nn.Module:
        """Return the torch module that computes the same function.

        Parameters
        ----------
        inplace
            Overwrite the input, where the torch class can; it is ignored where it cannot.
        """
        from gradflow.activations.modules import build_module

        return build_module(self.torch_class, self.torch_arguments, inplace)

    def _saturated(self, x: Floats) -> npt.NDArray[np.bool_]:
        return np.abs(self.derivative(x)) < SATURATION * self.max_slope

    def _kink_sides(self) -> Floats:
        return np.concatenate([self.kinks, np.nextafter(self.kinks, np.inf)])

    def _landmarks(self, lo: float, hi: float) -> Floats:
        points = [np.linspace(lo, hi, 4001), np.linspace(-_BUSY, _BUSY, 8001), self._kink_sides()]
        x = np.unique(np.concatenate(points))
        return x[(x >= lo) & (x <= hi)]

    def _bisect(self, inside: Floats, outside: Floats) -> Floats:
        """Return the last saturated points between saturated and unsaturated ones."""
        while True:
            middle = inside / 2 + outside / 2
            if np.all((middle == inside) | (middle == outside)):
                return inside
            saturated = self._saturated(middle)
            inside = np.where(saturated, middle, inside)
            outside = np.where(saturated, outside, middle)


def _evaluate(formula: Formula, x: npt.ArrayLike) -> Floats:
    array = np.asarray(x, dtype=np.float64)
    points = np.atleast_1d(array)  # 0-d arrays turn into scalars, whose ** rounds differently
    missing = np.isnan(points)
    # Towards 0, by design; and what oscillates has no limit at ±∞: NaN.
    with np.errstate(under="ignore", invalid="ignore"):
        values = formula(np.where(missing, 0.0, points))
    result: Floats = np.where(missing, np.nan, values).reshape(array.shape)[()]
    return result
