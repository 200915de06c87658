"""What theory says of a built-in network before it is built. Needs no torch, and no batch.

`prediction` asks the same chains with the batch that is measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from gradflow.activations import Activation, activation
from gradflow.configs.network import NetworkConfig
from gradflow.errors import GradflowError
from gradflow.measurement.rates import fit_rates, interval
from gradflow.networks.initialization import configured
from gradflow.results.diagnosis import ExpectedFlow
from gradflow.theories.propagation import Prediction, predict


def expected_flow(config: NetworkConfig) -> ExpectedFlow | None:
    """Return what a wide network of this kind does to Gaussian inputs; None where no chain does.

    Parameters
    ----------
    config
        With names that are known.
    """
    chain = _CHAINS.get(config.architecture.theory or "")
    if chain is None or is_no_chain(config) or config.data != "gaussian":
        return None
    features = config.architecture.features(config.depth, config.width)
    phi = activation(config.act, alpha=config.alpha)
    try:
        log10 = chain(config, phi, features, [config.width] * config.depth, 1.0).gradient_log10
    except GradflowError:  # beyond the range that the integrals cover
        return None
    rate = interval(fit_rates([layer[None] for layer in log10]))[0]
    if rate is None or not math.isfinite(rate) or rate <= 0:
        return None
    return ExpectedFlow(rate, config.depth, "step" if config.architecture.recurrent else "layer")


def is_no_chain(config: NetworkConfig) -> bool:
    """Whether a layer has more than a matrix, a bias around 0 and an activation."""
    return bool(config.bias_mean or config.norm != "none" or config.residual)


def of_layers(
    config: NetworkConfig, phi: Activation, features: int, units: Sequence[int], mean_square: float
) -> Prediction:
    """Predict a chain of dense layers of so many units, the output's among them where it counts.

    Parameters
    ----------
    mean_square
        Of an example's entries.
    """
    weights, biases = layer_variances(config, features, units)
    return predict(phi, weights, biases, weights[0] * mean_square + biases[0], units)


def layer_variances(
    config: NetworkConfig, features: int, units: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Return σ_w² (variance times fan-in) and σ_b² of every layer."""
    how = configured(config.init, config.gain, config.weight_variance, config.bias_variance)
    pairs = list(itertools.pairwise([features, *units]))
    return [how.variance(i, o) * i for i, o in pairs], [how.bias_variance(i) for i, _ in pairs]


def of_steps(
    config: NetworkConfig, phi: Activation, features: int, units: Sequence[int], mean_square: float
) -> Prediction:
    """Predict ∂C/∂h at every step of a plain recurrent network, as if each had weights of its own.

    From E[h′_t²] = σ_w² E[φ′(z_{t+1})²] E[h′_{t+1}²]: χ of a deep network whose layers are the
    steps (Poole et al. 2016; for recurrent ones Chen et al. 2018). A recurrent matrix of spectral
    radius ρ has σ_w = ρ (circular law; exact for orthogonal ones).

    Parameters
    ----------
    units
        Of every step, and of the output where it counts.
    """
    how = configured(config.init, config.gain, config.weight_variance, config.bias_variance)
    size = math.ceil(features / config.depth)
    recurrent = how.variance(config.width, config.width) * config.width
    driven = recurrent / config.width * size * mean_square
    biases = 2 * how.bias_variance(config.width)
    if config.spectral_radius is not None:
        recurrent = config.spectral_radius**2
    outputs = units[config.depth :]
    variances = [recurrent] * config.depth
    variances += [how.variance(config.width, classes) * config.width for classes in outputs]
    all_biases = [biases + driven] * config.depth
    all_biases += [how.bias_variance(config.width) for _ in outputs]
    found = predict(phi, variances, all_biases, biases + driven, units)
    log10, following = found.gradient_log10.copy(), np.array(variances[1:])
    log10[:-1] -= 0.5 * np.log10(found.chi[:-1] / following)  # of h_t, not of its argument
    return found._replace(gradient_log10=log10)


_CHAINS: dict[str, Callable[[NetworkConfig, Activation, int, Sequence[int], float], Prediction]] = {
    "layers": of_layers,
    "steps": of_steps,
}
