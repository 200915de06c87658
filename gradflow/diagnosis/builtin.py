"""The subject that gradflow builds itself: a network from its config, all seeds in one pass."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradflow.activations import Activation
from gradflow.configs.network import NetworkConfig
from gradflow.datasets.batches import Batch, batch
from gradflow.diagnosis.prediction import predict_deltas
from gradflow.diagnosis.subject import Pass, Subject, lost_in_half, seeds_of, sizes_of
from gradflow.measurement.half_precision import HALF, Underflow
from gradflow.measurement.quantities import QUANTITIES
from gradflow.measurement.recorder import measure
from gradflow.measurement.records import Measurement, keep_counts
from gradflow.measurement.scaled_pass import measure_scaled
from gradflow.measurement.time_steps import measure_steps
from gradflow.networks.architectures import build, network_activation
from gradflow.networks.losses import loss_function
from gradflow.networks.recurrent import Cell, largest_singular_values, spectral_radii
from gradflow.results.diagnosis import DiagnosisFacts
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select


def built_in(config: NetworkConfig, *, predicted: bool = True) -> Subject:
    """Return the network that `config` describes as a subject: all its seeds in one pass.

    Parameters
    ----------
    predicted
        Whether theory is asked as well; no verdict rests on it.
    """
    return Subject(
        passes=lambda: [_measured_network(config, predicted)],
        lr=config.lr,
        dtype=config.dtype,
        seeds=seeds_of(config),
        options={name: value for name, value in vars(config).items() if value is not None},
    )


def _measured_network(config: NetworkConfig, predicted: bool) -> Pass:
    device = select(config.device)
    dtype = torch.float32 if config.dtype in HALF else dtype_of(config.dtype)
    data = batch(config, dtype, device)
    model = build(config, data.inputs.shape[-1], data.classes, dtype, device)
    measured = measure_replicas(model, data, config)
    lost = _lost_in_half(model, data, config, measured) if config.dtype in HALF else None
    phi = network_activation(config)
    seen, pixels = network_pass(config, measured, phi), data.inputs.cpu().double().numpy()
    return replace(
        seen,
        underflow=lost,
        prediction=predict_deltas(config, phi, pixels, data.classes, data.labels.cpu().numpy())
        if predicted
        else None,
        known=seen.known | _recurrent_facts(model, config, phi),
        sizes=lambda: sizes_of(model, config.seeds),
    )


def network_pass(config: NetworkConfig, measured: Measurement, phi: Activation) -> Pass:
    """Return what a pass over replicas of the network of `config` gave, as it is judged."""
    loss = measured.loss.double().mean().item() / config.batch_size
    return Pass(
        measured,
        examples=config.batch_size,
        averaged=False,
        loss=loss,
        facts=DiagnosisFacts(
            width=config.width if config.architecture.theory == "layers" else None,
            example_loss=loss,
            batch_norm=config.norm == "batch",
        ),
        known={"activation": phi.name},
    )


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

    if not config.architecture.recurrent:
        keep_counts(measured, measure(half, lambda: losses(half), replicated=True, rescaled=False))
    return lost_in_half((model, losses), (half, losses), replicated=True)


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
    if config.architecture.bounded:
        facts["rate_bound"] = float(largest_singular_values(weight).median()) * phi.max_slope
    return facts


def measure_replicas(
    model: nn.Sequential,
    data: Batch,
    config: NetworkConfig,
    only: Collection[str] | None = None,
) -> Measurement:
    """Run the batch through every replica of `model`, and back.

    Where the plain pass leaves the range of its dtype, magnitudes come from one that cannot.

    Parameters
    ----------
    only
        Quantities that are asked for; None: all.
    """
    loss = loss_function(config.loss)
    inputs = data.inputs.expand(config.seeds, *data.inputs.shape)

    def of_logits(logits: Tensor) -> Tensor:
        each = loss(logits, data.labels)
        return each.view(config.seeds, -1).sum(1) * config.loss_scale

    def losses() -> Tensor:
        return of_logits(model(inputs))

    if config.architecture.recurrent:
        return measure_steps(model, inputs, of_logits)
    plain = measure(model, losses, replicated=True, only=only)
    if config.norm != "none" or not config.architecture.scale_free or not left_range(plain):
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
