"""Remedies: one change at a time, measured again, the best first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gradflow.activations import activation
from gradflow.configs.architectures import Architecture
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.checks import decades
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow
from gradflow.theory.meanfield import critical_weight_variance

#: Seeds and training steps that a remedy is tried with.
_SEEDS, _CLIP_STEPS = 4, 20

Change = Callable[[NetworkConfig], "NetworkConfig | None"]
Measure = Callable[[NetworkConfig], DiagnosisResult]


@dataclass(frozen=True)
class Remedy:
    """One change of a network.

    Attributes
    ----------
    change
        The changed config, or None where the remedy does not apply.
    torch
        The line or two of torch that do it; may use the changed config's fields.
    """

    change: Change
    torch: str


def _critical(config: NetworkConfig) -> NetworkConfig | None:
    phi = activation(config.act, alpha=config.alpha)
    variance = critical_weight_variance(phi, config.bias_variance or 0.0)
    if variance is None:
        return None
    return dataclasses.replace(
        config,
        init="lecun-normal",
        gain=1.0,
        weight_variance=float(f"{variance:.4g}"),
        bias_variance=config.bias_variance or 0.0,
    )


def _plain_init(name: str) -> Change:
    return lambda c: dataclasses.replace(c, init=name, gain=1.0, weight_variance=None)


def _with(**fields: str | bool | float | None) -> Change:
    return lambda c: dataclasses.replace(c, **fields)  # type: ignore[arg-type]


def _where(fits: Callable[[Architecture], bool], change: Change) -> Change:
    """A change of networks whose architecture it fits."""
    return lambda config: change(config) if fits(config.architecture) else None


def _normalised(kind: str) -> Change:
    return _where(lambda architecture: architecture.takes_norm, _with(norm=kind))


def _other_activation(name: str) -> Change:
    return _where(lambda architecture: architecture.takes_act, _with(act=name, alpha=None))


def _other_architecture(name: str) -> Change:
    return _where(lambda architecture: name in architecture.remedies, _with(arch=name))


def _unbiased(config: NetworkConfig) -> NetworkConfig:
    return dataclasses.replace(config, bias_mean=0.0, bias_variance=0.0)


#: name -> what to change. A new remedy is one entry.
REMEDIES: dict[str, Remedy] = {
    "critical weights": Remedy(
        _critical, "nn.init.normal_(w, 0, ({weight_variance} / w.shape[1]) ** 0.5)"
    ),
    "He initialisation": Remedy(
        _plain_init("he-normal"), "nn.init.kaiming_normal_(w, nonlinearity='relu')"
    ),
    "LeCun initialisation": Remedy(
        _plain_init("lecun-normal"), "nn.init.normal_(w, 0, w.shape[1] ** -0.5)"
    ),
    "biases at 0": Remedy(_unbiased, "nn.init.zeros_(b)"),
    "ReLU": Remedy(_other_activation("relu"), "nn.ReLU()"),
    "Leaky ReLU": Remedy(_other_activation("leaky-relu"), "nn.LeakyReLU(0.2)"),
    "LayerNorm": Remedy(_normalised("layer"), "nn.LayerNorm({width}) before the activation"),
    "BatchNorm": Remedy(_normalised("batch"), "nn.BatchNorm1d({width}) before the activation"),
    "RMSNorm": Remedy(_normalised("rms"), "nn.RMSNorm({width}) before the activation"),
    "residual": Remedy(
        _where(lambda architecture: architecture.residual == "option", _with(residual=True)),
        "x = x + block(x)",
    ),
    "spectral radius 1": Remedy(
        _where(
            lambda architecture: architecture.recurrent,
            _with(spectral_radius=1.0, init="orthogonal"),
        ),
        "nn.init.orthogonal_(rnn.weight_hh_l0)  # each gate's block",
    ),
    "LSTM": Remedy(_other_architecture("lstm"), "nn.LSTM(features, {width})"),
    "GRU": Remedy(_other_architecture("gru"), "nn.GRU(features, {width})"),
}


def tried(
    config: NetworkConfig, result: DiagnosisResult, measure: Measure
) -> tuple[RemedyRow, ...]:
    """Return what each remedy does to an unhealthy network, the best first.

    Best: healthy before unhealthy, then the least that a gradient or signal loses or gains.
    """
    config = dataclasses.replace(config, seeds=min(config.seeds, _SEEDS))
    rows = [_row(name, config, changed, measure(changed)) for name, changed in _changes(config)]
    rows.sort(key=lambda row: (row.verdict != "healthy", row.decades))
    if result.verdict in ("exploding", "broken"):
        rows.append(_clipped(config, result))
    return tuple(rows)


def _changes(config: NetworkConfig) -> Iterator[tuple[str, NetworkConfig]]:
    """The remedies that change this config, each outcome once."""
    seen = [config]
    for name, remedy in REMEDIES.items():
        changed = remedy.change(config)
        if changed is not None and changed not in seen:
            seen.append(changed)
            yield name, changed


def _row(
    name: str, before: NetworkConfig, after: NetworkConfig, result: DiagnosisResult
) -> RemedyRow:
    return RemedyRow(
        remedy=name,
        verdict=result.verdict,
        rate=result.rate,
        decades=decades(result),
        options=_options(before, after),
        torch=REMEDIES[name].torch.format(**vars(after)),
    )


def _options(before: NetworkConfig, after: NetworkConfig) -> str:
    """The command-line options that turn one config into the other."""
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


def _clipped(config: NetworkConfig, result: DiagnosisResult) -> RemedyRow:
    """Clipping leaves the rate as it is, so it is tried in training."""
    from gradflow.clipping.run import clip

    network = dataclasses.replace(config, seeds=1)
    steps = clip(network, ClipConfig(threshold=1.0, policy=("norm",), steps=_CLIP_STEPS)).history
    finite = len(steps) == _CLIP_STEPS and math.isfinite(steps[-1].loss)
    kept = f"{_CLIP_STEPS} steps: loss {steps[0].loss:.3g} to {steps[-1].loss:.3g}"
    return RemedyRow(
        remedy="clipping (norm 1)",
        verdict=result.verdict,
        rate=result.rate,
        decades=decades(result),
        options=f"gradflow clip --policy norm --threshold 1 ({kept if finite else 'diverged'})",
        torch="nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
    )
