"""diagnose(): build, run one forward and backward pass over all seeds at once, check."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn

from gradflow import checks
from gradflow.configs import NetworkConfig
from gradflow.datasets import Batch, batch, loss_function
from gradflow.devices import dtype as dtype_of
from gradflow.devices import select
from gradflow.inspection import keep_counts, measure_module
from gradflow.networks import build, network_activation
from gradflow.prediction import DeltaPrediction, predict_deltas
from gradflow.recorder import QUANTITIES, Measurement, measure
from gradflow.results.base import RunMeta
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.scaling import measure_scaled
from gradflow.summary import fit_rates, interval, layer_fields, layer_row


@overload
def diagnose(model: NetworkConfig, /, *, remedies: bool = False) -> DiagnosisResult: ...
@overload
def diagnose(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    /,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float = 0.01,
) -> DiagnosisResult: ...
def diagnose(
    model: NetworkConfig | nn.Module,
    inputs: Any = None,
    targets: Any = None,
    /,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float = 0.01,
    remedies: bool = False,
) -> DiagnosisResult:
    """Measure gradient flow through a network, and say what is wrong with it.

    Parameters
    ----------
    model
        A config, of which `seeds` networks are built and measured at once; or any module, which
        is left as it was (parameters, buffers, ``.grad``, mode, random state).
    inputs, targets
        For a module: what it is called with, and what the loss is called with after its output.
    loss
        ``loss(output, targets)``, or ``loss(output)`` without targets; its mean or sum over the
        examples. Cross-entropy by default.
    lr
        Learning rate that the update ratio is for.
    remedies
        For a config whose network is unhealthy: change one thing at a time and measure again.

    Returns
    -------
    DiagnosisResult
        One row per layer with weights, in the order of the forward pass.
    """
    if isinstance(model, NetworkConfig):
        result = _diagnose_config(model)
        if not remedies or result.verdict == "healthy":
            return result
        from gradflow.remedies import tried

        return dataclasses.replace(result, remedies=tried(model, result, _diagnose_config))
    seen = measure_module(model, inputs, targets, loss)
    measured = seen.measurement
    fields = _fields(measured, seen.examples, lr, summed=not seen.averaged)
    meta = RunMeta(
        torch=torch.__version__,
        device=str(measured.loss.device),
        dtype=str(measured.loss.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )
    result = _result(measured, fields, meta, loss=measured.loss.double().mean().item())
    return checks.judged(result, notes=checks.widened(seen.lost))


def _diagnose_config(config: NetworkConfig) -> DiagnosisResult:
    device, dtype = select(config.device), dtype_of(config.dtype)
    data = batch(config, dtype, device)
    model = build(config, data.inputs.shape[-1], data.classes, dtype, device)
    measured = measure_replicas(model, data, config)
    fields = _fields(measured, config.batch_size, config.lr, summed=True)
    phi = network_activation(config)
    batch_inputs = data.inputs.cpu().double().numpy()
    meta = RunMeta(
        torch=torch.__version__,
        device=str(device),
        dtype=config.dtype,
        seeds=tuple(range(config.seed, config.seed + config.seeds)),
        threads=torch.get_num_threads(),
        config={k: v for k, v in vars(config).items() if v is not None},
    )
    result = _result(
        measured, fields, meta, predict_deltas(config, phi, batch_inputs, data.classes),
        activation=phi.name, loss=measured.loss.double().mean().item() / config.batch_size,
    )  # fmt: skip
    return checks.judged(result, config.width)


def measure_replicas(model: nn.Sequential, data: Batch, config: NetworkConfig) -> Measurement:
    """Run the batch through every replica of `model`, and back.

    Where the plain pass leaves the range of its dtype, magnitudes come from one that cannot.
    """
    loss = loss_function(config.loss)
    inputs = data.inputs.expand(config.seeds, *data.inputs.shape)

    def losses() -> Tensor:
        each = loss(model(inputs), data.labels)
        return each.view(config.seeds, -1).sum(1) * config.loss_scale

    plain = measure(model, losses, replicated=True)
    if config.norm != "none" or not left_range(plain):
        return plain
    phi = network_activation(config)
    scaled = measure_scaled(model, inputs, data.labels, phi, config.loss, config.loss_scale)
    keep_counts(scaled, plain)
    return scaled


def left_range(measured: Measurement) -> bool:
    """Return whether an activation or a gradient over- or underflowed in its dtype."""
    q = dict(zip(QUANTITIES, measured.values.unbind(1), strict=True))
    lost = (q["forward_nonfinite"].nan_to_num() + q["backward_nonfinite"].nan_to_num()) > 0
    tiny = torch.finfo(measured.loss.dtype).tiny ** 0.75
    faded = q["activation_variance"] + q["activation_mean"].square() < tiny**2
    return bool(measured.values.isinf().any() | (lost | (faded & (q["dead_fraction"] < 1))).any())


def _fields(
    measured: Measurement, examples: int, lr: float, *, summed: bool
) -> list[dict[str, Any]]:
    """Bring the measurement to the host, at once, and name its parts."""
    values = measured.values.cpu().double().numpy()
    layers = [
        {name: layer[i] if name in known else None for i, name in enumerate(QUANTITIES)}
        for layer, known in zip(values, measured.measured, strict=True)
    ]
    return layer_fields(layers, measured.weight_sizes, examples, lr, summed=summed)


def _result(
    measured: Measurement,
    fields: list[dict[str, Any]],
    meta: RunMeta,
    prediction: DeltaPrediction | None = None,
    **known: Any,
) -> DiagnosisResult:
    """Summarise over seeds, and fit the rate over the hidden layers."""
    predicted = [{} for _ in fields] if prediction is None else prediction.rows()
    named = zip(measured.names, measured.kinds, fields, predicted, strict=True)
    rows = tuple(layer_row(index, *parts) for index, parts in enumerate(named, start=1))
    hidden = len(rows) - 1
    rate, low, high = interval(fit_rates([f["delta_log10_rms"] for f in fields[:hidden]]))
    return DiagnosisResult(
        records=rows, meta=meta, hidden=hidden, rate=rate, rate_low=low, rate_high=high,
        predicted_rate=None if prediction is None else prediction.rate(), **known,
    )  # fmt: skip
