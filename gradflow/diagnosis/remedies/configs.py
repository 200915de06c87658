"""Remedies of built-in networks: changes of their configs, and the options that make them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from gradflow.activations import activation
from gradflow.configs.architectures import Architecture
from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.remedies.entry import Change


def critical(config: NetworkConfig) -> NetworkConfig | None:
    """Gaussian weights at the activation's critical variance.

    GELU and its kin have none without biases: they get those of their critical point.
    """
    from gradflow.theories.phases import critical_point, critical_weight_variance

    phi = activation(config.act, alpha=config.alpha)
    bias = config.bias_variance or 0.0
    variance = critical_weight_variance(phi, bias)
    if variance is None and (point := critical_point(phi)) is not None:
        bias, variance = float(f"{point[0] * 1.001:.4g}"), point[1]  # not a hair below it
    if variance is None:
        return None
    return dataclasses.replace(
        config,
        gain=1.0,
        weight_variance=float(f"{variance:.4g}"),
        bias_variance=bias,
    )


def drawn(name: str, variance: float | None = None) -> Change:
    """Return the change to an initialiser as it is.

    Parameters
    ----------
    variance
        Its σ_w², for a network that has one already: an option cannot be taken back.
    """

    def change(config: NetworkConfig) -> NetworkConfig | None:
        if config.weight_variance is None:
            return dataclasses.replace(config, init=name, gain=1.0)
        if variance is None:
            return None
        return dataclasses.replace(config, init=name, gain=1.0, weight_variance=variance)

    return change


def having(**fields: str | bool | float | None) -> Change:
    """Return the change of these fields."""
    return lambda c: dataclasses.replace(c, **fields)  # type: ignore[arg-type]


def where(fits: Callable[[Architecture], bool], change: Change) -> Change:
    """Return a change of networks whose architecture it fits."""
    return lambda config: change(config) if fits(config.architecture) else None


def normalised(kind: str) -> Change:
    """Return the change to a normalisation."""
    return where(lambda architecture: architecture.takes_norm, having(norm=kind))


def relu(config: NetworkConfig) -> NetworkConfig | None:
    """Return the change to ReLU; where --alpha stands, to a Leaky ReLU of slope 0, the same."""
    if not config.architecture.takes_act:
        return None
    if config.alpha is None:
        return dataclasses.replace(config, act="relu")
    return dataclasses.replace(config, act="leaky-relu", alpha=0.0)


def leaky_relu(config: NetworkConfig) -> NetworkConfig | None:
    """Return the change to a Leaky ReLU of slope 0.2."""
    if not config.architecture.takes_act:
        return None
    alpha = None if config.alpha is None else 0.2
    return dataclasses.replace(config, act="leaky-relu", alpha=alpha)


def other_architecture(name: str) -> Change:
    """Return the change to another architecture, where that is a remedy for this one."""
    return where(lambda architecture: name in architecture.remedies, having(arch=name))


def unbiased(config: NetworkConfig) -> NetworkConfig:
    """Return the change to biases of 0."""
    return dataclasses.replace(config, bias_mean=0.0, bias_variance=0.0)


def options(before: NetworkConfig, after: NetworkConfig) -> str:
    """Return the command-line options that turn one config into the other."""
    return " ".join(
        _option(name, value)
        for name, value in vars(after).items()
        if value is not None and value != getattr(before, name)
    )


def _option(name: str, value: Any) -> str:
    """One option as it is typed: a switch by its name alone."""
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return flag
    return f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"
