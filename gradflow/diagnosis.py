"""diagnose(): build, run one forward and backward pass over all seeds at once, check."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn

from gradflow import checks
from gradflow.activations import Activation
from gradflow.configs import RECURRENT, NetworkConfig
from gradflow.datasets import Batch, batch, loss_function
from gradflow.devices import dtype as dtype_of
from gradflow.devices import select
from gradflow.errors import GradflowError
from gradflow.inspection import Task, keep_counts, measure_module
from gradflow.networks import build, network_activation
from gradflow.precision import HALF, Underflow, gradient_entries, underflow
from gradflow.prediction import DeltaPrediction, predict_deltas
from gradflow.quantities import QUANTITIES, Measurement
from gradflow.recorder import measure
from gradflow.recurrent import Cell, largest_singular_values, spectral_radii
from gradflow.results.base import RunMeta
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.scaling import measure_scaled
from gradflow.summary import fit_rates, interval, layer_fields, layer_row, stacked_fields
from gradflow.timesteps import measure_steps


@overload
def diagnose(model: NetworkConfig, /, *, remedies: bool = False) -> DiagnosisResult: ...
@overload
def diagnose(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float = 0.01,
) -> DiagnosisResult: ...
def diagnose(
    model: NetworkConfig | nn.Module,
    inputs: Any = None,
    targets: Any = None,
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
        is left as it was (parameters, buffers, ``.grad``, mode, hooks, random state). Compiled
        and data-parallel modules are measured through the module inside.
    inputs, targets
        For a module: what it is called with (a tensor; a tuple or list of arguments; a dictionary
        of keyword arguments), and what the loss is called with after its output.
    loss
        ``loss(output, targets)``, or ``loss(output)`` without targets; its mean or sum over the
        examples. Cross-entropy by default; without targets, the output's own ``loss``.
    lr
        Learning rate that the update ratio is for.
    remedies
        For a config whose network is unhealthy: change one thing at a time and measure again.

    Returns
    -------
    DiagnosisResult
        One row per layer with weights, in the order of the forward pass.

    Raises
    ------
    GradflowError
        If the model raises (with the layer that it reached and the exception's line), trains no
        parameter, or gives nothing to take a loss of.
    """
    if isinstance(model, NetworkConfig):
        result = _diagnose_config(model)
        if not remedies or result.verdict == "healthy":
            return result
        from gradflow.remedies import tried

        return dataclasses.replace(result, remedies=tried(model, result, _diagnose_config))
    return diagnose_module(model, Task(inputs, targets, loss), lr)


def diagnose_module(model: nn.Module, task: Task, lr: float) -> DiagnosisResult:
    """Measure a module that was not built here, on one task."""
    seen = measure_module(model, task)
    measured = seen.measurement
    fields = _fields(measured, seen.examples, lr, summed=not seen.averaged)
    meta = RunMeta(
        torch=torch.__version__,
        device=str(measured.loss.device),
        dtype=str(measured.loss.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )
    lost = seen.underflow
    result = _result(
        measured, with_underflow(fields, lost), meta, loss=measured.loss.double().mean().item(),
        suggested_loss_scale=None if lost is None else lost.loss_scale,
    )  # fmt: skip
    return checks.judged(result, notes=seen.notes)


def diagnose_file(
    reference: str, config: NetworkConfig, input_shape: str | None = None
) -> DiagnosisResult:
    """Measure the module that ``file.py:name`` names, once per seed of `config`.

    Parameters
    ----------
    config
        Of which batch size, loss, learning rate, seeds, dtype and device apply.
    input_shape
        Of one example, ``"3,32,32"``; where the file gives inputs of its own, it may be left out.

    Raises
    ------
    GradflowError
        If the file, its model or the options are unusable.
    """
    from gradflow.modelfiles import built, task_for

    _refuse_network_options(config)
    seen, layers = None, []
    for seed in range(config.seed, config.seed + config.seeds):
        found = built(reference, seed, several=config.seeds > 1)
        model = found.model.to(select(config.device), dtype_of(config.dtype))
        task = task_for(found, config, input_shape)
        seen = measure_module(model, task)
        measured = seen.measurement
        fields = _fields(measured, seen.examples, config.lr, summed=not seen.averaged)
        layers.append(with_underflow(fields, seen.underflow))
    assert seen is not None
    measured = seen.measurement
    meta = RunMeta(
        torch=torch.__version__, device=str(measured.loss.device), dtype=config.dtype,
        seeds=tuple(range(config.seed, config.seed + config.seeds)),
        threads=torch.get_num_threads(),
        config={"model": reference, "input_shape": input_shape, **_applying(config)},
    )  # fmt: skip
    loss = measured.loss.double().mean().item()
    scale = None if seen.underflow is None else seen.underflow.loss_scale
    fields = stacked_fields(layers)
    result = _result(measured, fields, meta, loss=loss, suggested_loss_scale=scale)
    return checks.judged(result, notes=seen.notes)


#: What a config says of a user's model; everything else describes a built-in network.
_APPLYING = ("batch_size", "loss", "loss_scale", "lr", "seed", "seeds", "dtype", "device")


def _applying(config: NetworkConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _APPLYING}


def _refuse_network_options(config: NetworkConfig) -> None:
    defaults = NetworkConfig()
    for f in dataclasses.fields(config):
        if f.name not in _APPLYING and getattr(config, f.name) != getattr(defaults, f.name):
            raise GradflowError(
                f"--{f.name.replace('_', '-')} describes a built-in network, not --model",
                "drop it, or build it into the model",
            )


def _diagnose_config(config: NetworkConfig) -> DiagnosisResult:
    device = select(config.device)
    dtype = torch.float32 if config.dtype in HALF else dtype_of(config.dtype)
    data = batch(config, dtype, device)
    model = build(config, data.inputs.shape[-1], data.classes, dtype, device)
    measured = measure_replicas(model, data, config)
    lost = _lost_in_half(model, data, config, measured) if config.dtype in HALF else None
    fields = with_underflow(_fields(measured, config.batch_size, config.lr, summed=True), lost)
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
        suggested_loss_scale=None if lost is None else lost.loss_scale,
        **_recurrent_facts(model, config, phi),
    )  # fmt: skip
    return checks.judged(result, config.width if config.arch == "mlp" else None)


def _lost_in_half(
    model: nn.Sequential, data: Batch, config: NetworkConfig, measured: Measurement
) -> Underflow:
    """Run the same pass in half precision, its loss in float32 as autocast has it.

    The magnitudes stay float32's; `measured` is told of what is not finite in half precision.
    """
    half = copy.deepcopy(model).to(HALF[config.dtype])
    loss = loss_function(config.loss)
    inputs = data.inputs.expand(config.seeds, *data.inputs.shape)

    def losses(network: nn.Module) -> Tensor:
        logits = network(inputs.to(next(network.parameters()).dtype)).float()
        return loss(logits, data.labels).sum() * (config.loss_scale / config.batch_size)

    if config.arch not in RECURRENT:
        keep_counts(measured, measure(half, lambda: losses(half), replicated=True, rescaled=False))
    wide, narrow = (gradient_entries(m, losses, replicated=True) for m in (model, half))
    return underflow(wide, narrow, replicated=True)


def _recurrent_facts(
    model: nn.Module, config: NetworkConfig, phi: Activation
) -> dict[str, float | None]:
    """Spectral radius, and of a plain cell Pascanu's bound; medians over the seeds."""
    cells = [module for module in model.modules() if isinstance(module, Cell)]
    if not cells:
        return {}
    weight, gates = cells[0].weight, cells[0].gates
    facts: dict[str, float | None] = {
        "spectral_radius": float(spectral_radii(weight, gates).amax(1).median())
    }
    if config.arch == "rnn":
        facts["rate_bound"] = float(largest_singular_values(weight).median()) * phi.max_slope
    return facts


def measure_replicas(model: nn.Sequential, data: Batch, config: NetworkConfig) -> Measurement:
    """Run the batch through every replica of `model`, and back.

    Where the plain pass leaves the range of its dtype, magnitudes come from one that cannot.
    """
    loss = loss_function(config.loss)
    inputs = data.inputs.expand(config.seeds, *data.inputs.shape)

    def of_logits(logits: Tensor) -> Tensor:
        each = loss(logits, data.labels)
        return each.view(config.seeds, -1).sum(1) * config.loss_scale

    def losses() -> Tensor:
        return of_logits(model(inputs))

    if config.arch in RECURRENT:
        return measure_steps(model, inputs, of_logits)
    plain = measure(model, losses, replicated=True)
    if config.norm != "none" or config.arch != "mlp" or not left_range(plain):
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


def with_underflow(fields: list[dict[str, Any]], lost: Underflow | None) -> list[dict[str, Any]]:
    """Return the fields with what half precision loses of each layer's gradient."""
    none = [None] * len(fields)
    weight, delta = (none, none) if lost is None else (lost.weight, lost.delta)
    return [
        f | {"underflow_fraction": w, "delta_underflow_fraction": d}
        for f, w, d in zip(fields, weight, delta, strict=True)
    ]


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
    rate, low, high = interval(
        fit_rates([f["delta_log10_rms"] for f in fields[:hidden]], measured.names[:hidden])
    )
    return DiagnosisResult(
        records=rows, meta=meta, hidden=hidden, rate=rate, rate_low=low, rate_high=high,
        predicted_rate=None if prediction is None else prediction.rate(), **known,
    )  # fmt: skip
