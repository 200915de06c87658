"""One neuron per layer: the article's derivative as a product, term by term.

For a chain a₀ → a₁ → … → a_L with z_l = w_l a_{l−1} + b_l and a_l = φ(z_l),

    ∂C/∂b₁ = φ′(z₁) · w₂ φ′(z₂) · w₃ φ′(z₃) ⋯ w_L φ′(z_L) · ∂C/∂a_L

(Nielsen, "Neural Networks and Deep Learning", chapter 5, eq. 122).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from gradflow.configs.chain import ChainConfig
from gradflow.configs.fields import finite, float_list
from gradflow.errors import GradflowError
from gradflow.findings.check import judged
from gradflow.functions import checks
from gradflow.results.base import RunMeta
from gradflow.results.chain import ChainResult, FactorRow

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def chain(
    weights: Sequence[float],
    slopes: Sequence[float],
    *,
    cost_slope: float = 1.0,
    bias: float | None = None,
    learning_rate: float = 0.5,
) -> ChainResult:
    """Multiply out ∂C/∂b₁ for a chain of single neurons.

    Parameters
    ----------
    weights
        w₂ … w_L, one fewer than the slopes.
    slopes
        φ′(z₁) … φ′(z_L), at least one.
    cost_slope
        ∂C/∂a_L.
    bias, learning_rate
        With a bias, the step b₁ − learning_rate · ∂C/∂b₁ is taken as well.

    Returns
    -------
    ChainResult
        A row per factor; ``gradient`` is the product.

    Raises
    ------
    GradflowError
        If the lengths do not fit or a number is not finite.

    Examples
    --------
    >>> import gradflow
    >>> gradflow.chain([2.0], [0.25, 0.5]).gradient
    0.25
    """
    _check(weights, slopes, cost_slope, bias, learning_rate)
    factors = _factors(weights, slopes, cost_slope)
    values = [value for _, value in factors]
    products = list(itertools.accumulate(values, lambda a, b: a * b))
    logs = list(itertools.accumulate(_log10(value) for value in values))
    rows = tuple(
        FactorRow(index, symbol, value, product, log)
        for index, ((symbol, value), product, log) in enumerate(
            zip(factors, products, logs, strict=True), start=1
        )
    )
    gradient = products[-1]
    result = ChainResult(
        records=rows,
        meta=RunMeta(dtype="float64"),
        gradient=gradient,
        gradient_log10=logs[-1],
        learning_rate=learning_rate,
        bias=bias,
        updated_bias=None if bias is None else bias - learning_rate * gradient,
    )
    return judged(result, checks.CHECKS)


def multiplied(config: ChainConfig) -> ChainResult:
    """Multiply out the chain that a config describes; see `chain` and `given_slopes`."""
    return chain(
        float_list("--weights", config.weights),
        given_slopes(config.slopes, config.act, config.pre_activations, config.alpha),
        cost_slope=config.cost_slope,
        bias=config.bias,
        learning_rate=config.learning_rate,
    )


def given_slopes(
    slopes: str | None, act: str | None, pre_activations: str | None, alpha: float | None = None
) -> Sequence[float]:
    """Return φ′(z₁), φ′(z₂), …: as given, or of a named activation at its pre-activations.

    Raises
    ------
    GradflowError
        If neither or both are given, or a list is not of numbers.
    """
    if slopes is not None:
        if act is not None or pre_activations is not None:
            raise GradflowError(
                "--slopes and --act with --pre-activations say the same thing twice", "drop one"
            )
        return float_list("--slopes", slopes)
    if act is None or pre_activations is None:
        raise GradflowError(
            "no slopes given", "give --slopes 0.2,0.1 or --act sigmoid --pre-activations 1,2"
        )
    from gradflow.activations import activation

    points = float_list("--pre-activations", pre_activations)
    phi = activation(act, alpha=alpha)
    return [float(slope) for slope in phi.derivative(points)]


def _factors(
    weights: Sequence[float], slopes: Sequence[float], cost_slope: float
) -> list[tuple[str, float]]:
    factors = [("φ′(z₁)", slopes[0])]
    for layer, (weight, slope) in enumerate(zip(weights, slopes[1:], strict=True), start=2):
        factors += [(_sub("w", layer), weight), (f"φ′({_sub('z', layer)})", slope)]
    return [*factors, (f"∂C/∂{_sub('a', len(slopes))}", cost_slope)]


def _sub(letter: str, index: int) -> str:
    return letter + str(index).translate(_SUBSCRIPTS)


def _log10(value: float) -> float:
    return math.log10(abs(value)) if value else -math.inf


def _check(
    weights: Sequence[float],
    slopes: Sequence[float],
    cost_slope: float,
    bias: float | None,
    learning_rate: float,
) -> None:
    if not slopes:
        raise GradflowError(
            "no slopes given", "give --slopes 0.2,0.1 or --act sigmoid --pre-activations 1,2"
        )
    if len(weights) != len(slopes) - 1:
        raise GradflowError(
            f"weights must be one fewer than slopes: got {len(weights)} for {len(slopes)}",
            "the first weight (w₁) is not part of ∂C/∂b₁: give w₂, w₃, …",
        )
    named = {"--cost-slope": cost_slope, "--learning-rate": learning_rate, "--bias": bias or 0.0}
    for name, value in named.items():
        finite(name, value)
    for value in (*weights, *slopes):
        finite("every weight and slope", value)
