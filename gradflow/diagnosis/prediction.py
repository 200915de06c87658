"""What mean-field theory predicts of a network that `diagnose` measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradflow.activations import Activation
from gradflow.arrays import Floats, Integers
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import loaded
from gradflow.diagnosis.expected import is_no_chain, layer_variances, of_layers, of_steps
from gradflow.diagnosis.wide_networks import WideNetwork
from gradflow.errors import GradflowError
from gradflow.measurement.rates import fit_rates, interval
from gradflow.networks.architectures import first_stride
from gradflow.networks.initialization import configured
from gradflow.networks.layers import Image
from gradflow.networks.losses import LOSSES
from gradflow.theories.convolution import Layer, position_deltas
from gradflow.theories.finite_width import predict_ensemble
from gradflow.theories.propagation import Prediction
from gradflow.theories.wide import Chain, deltas

#: Examples differ in length, and so in q₁: this many representatives stand for a batch.
_REPRESENTATIVES = 5
#: And so many where examples of one length differ, too, in how alike their tokens are.
_EXAMPLES = 12
#: Examples from which on batch normalisation has a gradient whose mean square is known well, and up
#: to which a layer's covariance over them is cheap.
_LEAST_BATCH, _MOST_BATCH = 8, 128
#: Side of images up to which the covariance of all positions is cheap.
_MOST_SIDE = 40
#: Numbers of all layers' samples together beyond which memory would be used in earnest.
_MOST_NUMBERS = 2**25


@dataclass(frozen=True)
class DeltaPrediction:
    """log₁₀ of δ's rms per layer, the output's included.

    Where it is known, with a 5 to 95 % band over networks.
    """

    log10_rms: Floats
    low: Floats | None = None
    high: Floats | None = None

    def rows(self) -> list[dict[str, float]]:
        """Return each layer's fields of a `LayerRow`."""
        columns = {"": self.log10_rms, "_low": self.low, "_high": self.high}
        known = {f"predicted_delta_log10_rms{n}": c for n, c in columns.items() if c is not None}
        return [
            dict(zip(known, map(float, layer), strict=True))
            for layer in zip(*known.values(), strict=True)
        ]

    def rate(self, names: Sequence[str] = ()) -> float | None:
        """Return the predicted factor per layer going backwards, fitted as the measured one is.

        Parameters
        ----------
        names
            Of the hidden layers.
        """
        return interval(fit_rates([log[None] for log in self.log10_rms[:-1]], names))[0]


def predict_deltas(
    config: NetworkConfig,
    phi: Activation,
    inputs: Floats,
    classes: int,
    labels: Integers | None = None,
) -> DeltaPrediction | None:
    """Predict δ in every layer at infinite width; None where no theory is known.

    Of a fully connected chain backwards from the output's δ = ∂C/∂(logits), whose mean square
    follows from the logits' Gaussian distribution, by E[δ_l²] = (n_{l+1}/n_l) χ_l E[δ_{l+1}²]
    (Schoenholz et al. 2017); of other networks part by part (`theories.wide`).

    Parameters
    ----------
    inputs
        (examples, features): the batch, for the length of each example and the fan-in.
    classes
        Units of the output layer.
    labels
        Each example's class; drawn where they are not given.
    """
    if config.bias_mean:
        return None
    if is_no_chain(config) or not config.architecture.theory:
        return _predict_wide(config, phi, inputs, classes, labels)
    return _CHAINS[config.architecture.theory](config, phi, inputs, classes)


def _predict_layers(
    config: NetworkConfig, phi: Activation, inputs: Floats, classes: int
) -> DeltaPrediction | None:
    """Predict δ of dense layers, with a band over networks of their width."""
    mean_squares, features = np.mean(inputs**2, axis=1), inputs.shape[1]
    widths = [config.width] * config.depth + [classes]
    variances, biases = layer_variances(config, features, widths)
    try:
        each = [
            _with_output(config, of_layers(config, phi, features, widths, q0), classes)
            for q0 in _representatives(mean_squares)
        ]
        typical = variances[0] * float(mean_squares.mean()) + biases[0]
        drawn = predict_ensemble(phi, variances, biases, typical, widths)
    except GradflowError:  # beyond the range that the integrals cover
        return None
    if not np.isfinite(each).all():  # squared errors beyond float64
        return None
    log10_rms = 0.5 * _log10_mean([2 * one for one in each])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0) - np.median(drawn, axis=0)
    return DeltaPrediction(log10_rms, log10_rms + low, log10_rms + high)


def _predict_positions(
    config: NetworkConfig, phi: Activation, inputs: Floats, classes: int
) -> DeltaPrediction | None:
    """Predict δ of a convolutional network, position by position; None for large images."""
    how = configured(config.init, config.gain, config.weight_variance, config.bias_variance)
    image, width = Image(inputs.shape[1]), config.width
    if image.side > _MOST_SIDE:
        return None
    counts = [image.channels, *[width] * config.depth]
    layers = [
        Layer(how.variance(9 * before, width), how.bias_variance(9 * before), before, width)
        for before in counts[:-1]
    ]
    layers[0] = layers[0]._replace(stride=first_stride(image))
    output = how.variance(width, classes), how.bias_variance(width), classes
    images = inputs.reshape(-1, image.channels, image.side, image.side)
    with np.errstate(over="ignore", invalid="ignore"):
        found = position_deltas(
            phi, layers, output, images, lambda q: _output_delta(config, q, classes)
        )
    usable = np.isfinite(found).all() and (found > 0).all()
    return DeltaPrediction(0.5 * np.log10(found)) if usable else None


def _predict_wide(
    config: NetworkConfig,
    phi: Activation,
    inputs: Floats,
    classes: int,
    labels: Integers | None,
) -> DeltaPrediction | None:
    """Predict δ of a network that is no chain, as far as its parts are known.

    Batch normalisation sees the whole batch; otherwise an example is alone, and some stand for all.
    """
    together = config.norm == "batch"
    build = config.architecture.wide
    if build is None or (together and not _judges_a_batch(config, len(inputs))):
        return None
    if labels is None:
        labels = np.random.default_rng(0).integers(classes, size=len(inputs))
    if not together:
        chosen = _representative_examples(inputs)
        inputs, labels = inputs[chosen], labels[chosen]
    grouped = inputs.T[None] if together else inputs[:, :, None]
    groups, features, points = grouped.shape
    network = WideNetwork(config, phi, groups, points)
    parts = loaded(build)(network, features, classes)
    gradient = _loss_gradient(config, labels.reshape(groups, points))
    if parts is None or gradient is None or network.numbers > _MOST_NUMBERS:
        return None
    try:
        found = deltas(Chain(parts), network.layers, grouped, classes, gradient)
    except GradflowError:  # beyond the range of doubles
        return None
    usable = np.isfinite(found).all() and (found > 0).all()
    return DeltaPrediction(0.5 * np.log10(found)) if usable else None


def _judges_a_batch(config: NetworkConfig, examples: int) -> bool:
    """Whether theory holds for batch normalisation over so many examples.

    Fewer units than examples cannot have the covariance of infinitely many.
    """
    return _LEAST_BATCH <= examples <= min(config.width, _MOST_BATCH)


def _representative_examples(inputs: Floats) -> Integers:
    """Examples at quantiles of the batch's mean squares."""
    order = np.argsort(np.mean(inputs**2, axis=1))
    count = min(_EXAMPLES, len(order))
    return np.asarray(order[((np.arange(count) + 0.5) / count * len(order)).astype(np.intp)])


def _loss_gradient(config: NetworkConfig, labels: Integers) -> Callable[[Floats], Floats] | None:
    """∂(loss of an example)/∂(logits), of (groups, networks, classes, points) logits."""
    answer = LOSSES[config.loss].answer
    if answer is None:
        return None

    def gradient(logits: Floats) -> Floats:
        classes = logits.shape[2]
        rows = np.moveaxis(logits, 2, -1)
        answers = answer(rows.reshape(-1, classes)).reshape(rows.shape)
        target = np.eye(classes)[labels][:, None]
        return np.asarray(np.moveaxis(answers - target, -1, 2) * config.loss_scale)

    return gradient


def _predict_steps(
    config: NetworkConfig, phi: Activation, inputs: Floats, classes: int
) -> DeltaPrediction | None:
    """Predict ∂C/∂h at every step of a plain recurrent network."""
    widths = [config.width] * config.depth + [classes]
    try:
        found = of_steps(config, phi, inputs.shape[1], widths, float(np.mean(inputs**2)))
    except GradflowError:  # beyond the range that the integrals cover
        return None
    log10 = _with_output(config, found, classes)
    return DeltaPrediction(log10, log10, log10) if np.isfinite(log10).all() else None


def _representatives(mean_squares: Floats) -> Floats:
    """The batch's mean squares, or quantiles of them where they are many and differ."""
    if np.ptp(mean_squares) < 1e-3 * mean_squares.mean():
        return mean_squares[:1]
    shares = (np.arange(_REPRESENTATIVES) + 0.5) / _REPRESENTATIVES
    return np.asarray(np.quantile(mean_squares, shares))


def _with_output(config: NetworkConfig, found: Prediction, classes: int) -> Floats:
    """log₁₀ of δ's rms per layer, from what is relative to the output's δ."""
    output = _output_delta(config, float(found.q[-1]), classes)
    log10: Floats = found.gradient_log10 + math.log10(output)
    return log10


def _output_delta(config: NetworkConfig, q: float, classes: int) -> float:
    """Rms of δ at the output for logits N(0, q); NaN where the loss does not say."""
    rms = LOSSES[config.loss].output_delta
    return math.nan if rms is None else rms(q, classes) * config.loss_scale


def _log10_mean(logs: list[Floats]) -> Floats:
    """log₁₀ of the mean of 10**logs, which may be beyond the range of doubles."""
    table = np.stack(logs)
    top = table.max(0)
    mean: Floats = top + np.log10(np.mean(10.0 ** (table - top), axis=0))
    return mean


#: What the architecture's theory takes for layers -> how it is predicted.
_CHAINS: dict[str, Callable[[NetworkConfig, Activation, Floats, int], DeltaPrediction | None]] = {
    "layers": _predict_layers,
    "steps": _predict_steps,
    "positions": _predict_positions,
}
