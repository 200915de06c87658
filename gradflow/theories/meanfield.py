"""Mean-field theory of signal propagation: what a wide random network does to a signal.

In a wide fully connected network with independent weights of variance σ_w²/fan-in and biases of
variance σ_b², every pre-activation of layer l is Gaussian with variance q_l, and

    q_{l+1} = σ_w² E[φ(√q_l z)²] + σ_b²              (length map; Poole et al. 2016, eq. 3)
    E[δ_l²] = χ_l E[δ_{l+1}²],  χ_l = σ_w² E[φ′(√q_l z)²]      (Schoenholz et al. 2017, section 4)

with z ~ N(0, 1) and δ = ∂C/∂(pre-activation).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats
from gradflow.configs.fields import positive, required
from gradflow.configs.theory import TheoryConfig
from gradflow.results.base import RunMeta
from gradflow.results.theory import EdgeRow, TheoryResult, TheoryRow
from gradflow.theories.finite_width import predict_ensemble
from gradflow.theories.fixed_points import ln
from gradflow.theories.phases import (
    chi_fixed_point,
    critical_curve,
    critical_gain,
    critical_weight_variance,
    depth_scale,
    edge_of_chaos,
    fixed_point,
    phase_grid,
    regime,
)
from gradflow.theories.propagation import Prediction, predict
from gradflow.theories.quadrature import (
    first_moment,
    gains,
    ln_second_moment,
    ln_slope_moment,
    moments,
)

if TYPE_CHECKING:
    from gradflow.activations import Activation

__all__ = [
    "Prediction",
    "TheoryConfig",
    "chi",
    "chi_fixed_point",
    "critical_curve",
    "critical_gain",
    "critical_weight_variance",
    "depth_scale",
    "edge_of_chaos",
    "fixed_point",
    "length_map",
    "moment_jacobian",
    "moment_map",
    "phase_grid",
    "predict",
    "predict_ensemble",
    "regime",
    "theory",
]


def length_map(
    act: Activation, q: npt.ArrayLike, weight_variance: float, bias_variance: float = 0.0
) -> Floats:
    """Return q of the next layer, σ_w² E[φ(√q z)²] + σ_b² (Poole et al. 2016, eq. 3).

    Parameters
    ----------
    act
        The activation φ.
    q
        Variances of the pre-activations, of any shape.
    weight_variance, bias_variance
        σ_w² and σ_b².
    """
    flat = ln(q).ravel()
    with np.errstate(over="ignore"):
        mapped = weight_variance * np.exp(ln_second_moment(act, flat)) + bias_variance
    return np.reshape(mapped, np.shape(q))


def chi(act: Activation, q: npt.ArrayLike, weight_variance: float) -> Floats:
    """Return χ = σ_w² E[φ′(√q z)²], the factor of E[δ²] per layer, in the shape of `q`."""
    slope = np.exp(ln_slope_moment(act, ln(q).ravel()))
    return np.reshape(weight_variance * slope, np.shape(q))


def moment_map(act: Activation, variance: float) -> tuple[float, float]:
    """Return mean and variance of a layer's activations from the variance of those before it.

    Klambauer et al. 2017 ("Self-normalizing neural networks", eqs. 4 and 5) for weights into a
    unit that sum to ω = 0 and whose squares sum to τ = 1: pre-activations are N(0, variance),
    and the mean of the layer before drops out.

    Raises
    ------
    GradflowError
        If `variance` is not above 0.
    """
    positive("variance", variance)
    ln_q = ln(variance)
    mean, _ = first_moment(act, ln_q[0])
    return mean, variance * float(gains(act, ln_q)[0]) - mean**2


def moment_jacobian(
    act: Activation, variance: float = 1.0
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the Jacobian of `moment_map` by (mean, variance) of the layer before.

    Rows: the new mean, the new variance. The first column is 0, since ω = 0.

    Raises
    ------
    GradflowError
        If `variance` is not above 0.
    """
    positive("variance", variance)
    ln_q = ln(variance)
    mean, mean_slope = first_moment(act, ln_q[0])
    at = moments(act, ln_q)
    second_slope = float(at.gain[0] * at.gain_power[0])
    return (0.0, mean_slope), (0.0, second_slope - 2 * mean * mean_slope)


def theory(config: TheoryConfig) -> TheoryResult:
    """Return what mean-field theory says of the network in `config`.

    A row's ``gradient_log10`` is log₁₀ of δ's root mean square relative to the last layer's
    (`predict`), and its ``q`` begins with q₁ = σ_w² · input variance + σ_b².

    Parameters
    ----------
    config
        The activation, the variances of weights, biases and inputs, and the depth.

    Returns
    -------
    TheoryResult
        A row per layer.

    Raises
    ------
    GradflowError
        If the activation is unknown or takes no α.

    Examples
    --------
    >>> import gradflow
    >>> gradflow.theory(gradflow.TheoryConfig("relu", depth=10)).critical_weight_variance
    2.0
    """
    from gradflow.activations import activation

    required(config, TheoryConfig, "theory")
    act = activation(config.activation, alpha=config.alpha)
    bias = config.bias_variance
    critical = critical_weight_variance(act, bias)
    weight = config.weight_variance
    if weight is None:
        weight = 1.0 if critical is None else critical
    q1 = weight * config.input_variance + bias
    chi_settled = chi_fixed_point(act, weight, bias, start=q1)
    return TheoryResult(
        records=_rows(predict(act, [weight] * config.depth, [bias] * config.depth, q1)),
        meta=RunMeta(dtype="float64", config=dataclasses.asdict(config)),
        activation=act.name,
        parameters=dict(act.parameters),
        weight_variance=weight,
        bias_variance=bias,
        input_variance=config.input_variance,
        fixed_point=fixed_point(act, weight, bias, start=q1),
        chi_fixed_point=chi_settled,
        depth_scale=depth_scale(chi_settled),
        regime=regime(chi_settled),
        critical_weight_variance=critical,
        critical_gain=None if critical is None else math.sqrt(critical),
        jacobian=moment_jacobian(act) if act.name == "selu" else None,
        edge=_edge_rows(act, max(1.0, 2 * bias)),
    )


def _rows(prediction: Prediction) -> tuple[TheoryRow, ...]:
    columns = (
        prediction.q,
        prediction.chi,
        prediction.amplification,
        prediction.gradient_log10,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(TheoryRow(layer, *row) for layer, row in enumerate(rows, start=1))


def _edge_rows(act: Activation, limit: float) -> tuple[EdgeRow, ...]:
    """Return the edge of chaos for σ_b² up to `limit`, densest near 0, where it is steepest."""
    bias = limit * np.linspace(0, 1, 101) ** 3
    points = zip(bias.tolist(), critical_curve(act, bias).tolist(), strict=True)
    return tuple(EdgeRow(*point) for point in points if not math.isnan(point[1]))
