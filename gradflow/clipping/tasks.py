"""What clipping is tried on: tasks by name, where gradients explode and where they do not.

Every seed has its own network and its own batches, which depend on that seed alone: it is the
same alone and in company, and under every policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.clipping import sequences
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import loaded
from gradflow.configs.tasks import TASKS, Task
from gradflow.datasets.batches import batch, check_batch_size, image_batch
from gradflow.errors import GradflowError, named
from gradflow.networks.architectures import build
from gradflow.networks.losses import LOSSES, loss_function
from gradflow.networks.sequence import SequenceNetwork, initialize, recurrent_layer
from gradflow.training import devices

_RADIUS = 1.5


@dataclass(frozen=True)
class Problem:
    """A task made ready: networks, batches and loss.

    Attributes
    ----------
    model
        inputs (seeds, examples, …) -> outputs (seeds, predictions, units) or, if it ends flat,
        (seeds, predictions · readings, units); every parameter has a leading axis of seeds.
    batch
        number -> inputs (seeds, examples, …) and targets (seeds, predictions).
    loss
        outputs (predictions, units), targets (predictions,) -> loss of each (predictions,).
    chance
        Mean loss of the best answer that does not look at its input.
    steps
        Training steps that it takes unless told otherwise.
    """

    model: nn.Module
    batch: Callable[[int], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    chance: float
    steps: int


def described(network: NetworkConfig, config: ClipConfig) -> Problem:
    """Make the network of the options ready, on the batches that `diagnose` measures it with."""
    _refuse(config, "mlp", "sequence_length")
    device, dtype = devices.select(network.device), devices.dtype(network.dtype)
    own = [dataclasses.replace(network, seed=s, seeds=1) for s in seeds_of(network)]
    first = [batch(one, dtype, device) for one in own]
    loss = loss_function(network.loss)

    def batches(number: int) -> tuple[Tensor, Tensor]:
        drawn = first
        if network.data != "gaussian" and number > 0:
            data = sequences.images(network.data)
            drawn = [image_batch(data, network.batch_size, dtype, device, number)] * len(own)
        return torch.stack([b.inputs for b in drawn]), torch.stack([b.labels for b in drawn])

    def each(outputs: Tensor, labels: Tensor) -> Tensor:
        return loss(outputs.unsqueeze(0), labels).flatten() * network.loss_scale

    classes = first[0].classes
    model = build(network, first[0].inputs.shape[-1], classes, dtype, device)
    return Problem(model, batches, each, _chance(network, classes) * network.loss_scale, 100)


def _chance(network: NetworkConfig, classes: int) -> float:
    """Loss of the constant answer that suits classes of equal frequency best."""
    logit = LOSSES[network.loss].constant_logit(1 / classes)
    outputs = torch.full((1, 1, classes), logit, dtype=torch.float64)
    return float(loss_function(network.loss)(outputs, torch.zeros(1, dtype=torch.long)).mean())


def adding(network: NetworkConfig, config: ClipConfig) -> Problem:
    """Make the adding problem ready: the sum of two marked numbers of a sequence."""
    length = _length(config, 50, at_least=2)
    draw = _per_seed(network, lambda rng: sequences.adding(rng, network.batch_size, length))

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.squeeze(1) - targets).square()

    return Problem(_recurrent(network, 2, 1, 1), draw, squared, 1 / 6, 300)


def copy(network: NetworkConfig, config: ClipConfig) -> Problem:
    """Make the copy task ready: the first symbols again after a long blank."""
    length = _length(config, 20, at_least=2 * sequences.REMEMBERED + 1)
    draw = _per_seed(network, lambda rng: sequences.copying(rng, network.batch_size, length))
    symbols, readings = sequences.SYMBOLS, sequences.REMEMBERED
    model = _recurrent(network, symbols + 2, symbols, readings)
    return Problem(model, draw, _cross_entropy, float(np.log(symbols)), 300)


def mnist_rows(network: NetworkConfig, config: ClipConfig) -> Problem:
    """Make MNIST ready, a row of the image at each time step."""
    _refuse(config, "mnist-rows", "sequence_length")
    data = sequences.images(network.data)
    check_batch_size(network.batch_size, data)
    draw = _per_seed(network, lambda rng: sequences.rows(rng, network.batch_size, data))
    model = _recurrent(network, data.input_shape[1], data.classes, 1)
    return Problem(model, draw, _cross_entropy, float(np.log(data.classes)), 300)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def _recurrent(
    network: NetworkConfig, features: int, outputs: int, readings: int
) -> SequenceNetwork:
    device, dtype = devices.select(network.device), devices.dtype(network.dtype)
    layer = recurrent_layer(network.arch, network.seeds, features, network.width, dtype)
    model = SequenceNetwork(layer, readings, outputs)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds_of(network)]
    initialize(model, network.spectral_radius or _RADIUS, generators)
    return model.to(device)


def _per_seed(
    network: NetworkConfig, draw: Callable[[np.random.Generator], tuple[Any, Any]]
) -> Callable[[int], tuple[Tensor, Tensor]]:
    device, dtype = devices.select(network.device), devices.dtype(network.dtype)

    def batches(number: int) -> tuple[Tensor, Tensor]:
        drawn = [draw(sequences.random(seed, number)) for seed in seeds_of(network)]
        inputs, targets = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        if targets.is_floating_point():
            targets = targets.to(dtype)
        return inputs.to(device, dtype), targets.to(device)

    return batches


def _length(config: ClipConfig, own: int, at_least: int) -> int:
    length = config.sequence_length or own
    if length < at_least:
        raise GradflowError(
            f"--sequence-length must be at least {at_least} for task '{config.task}', got {length}",
            f"try --sequence-length {own}",
        )
    return length


def _refuse(config: ClipConfig, task: str, *fields: str) -> None:
    for name in fields:
        if getattr(config, name) is not None:
            raise GradflowError(
                f"--{name.replace('_', '-')} does not apply to task '{config.task or task}'",
                "it is for --task adding or copy",
            )


def seeds_of(network: NetworkConfig) -> range:
    """Return the seeds of a config's replicas."""
    return range(network.seed, network.seed + network.seeds)


def problem(network: NetworkConfig, config: ClipConfig) -> Problem:
    """Return the task of `config` made ready with the networks of `network`."""
    made: Problem = loaded(task(config.task or "mlp").make)(network, config)
    return made


def task(name: str) -> Task:
    """Return the named task.

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    return named("task", name, TASKS)


def network_for(name: str, network: NetworkConfig, given: Collection[str]) -> NetworkConfig:
    """Return `network` with a task's own defaults for all fields but those that were `given`.

    Raises
    ------
    GradflowError
        For an unknown task, and for a given field that means nothing to it.
    """
    chosen = task(name)
    for field_name in sorted(given):
        if chosen.takes is not None and field_name not in chosen.takes:
            flags = " ".join(f"--{f.replace('_', '-')}" for f in sorted(chosen.takes))
            raise GradflowError(
                f"--{field_name.replace('_', '-')} does not apply to task '{name}'",
                f"it takes {flags}",
            )
    own = {key: value for key, value in chosen.defaults.items() if key not in given}
    return dataclasses.replace(network, **own)
