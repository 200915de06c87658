"""What a rate is looked for: a network that may be trained and thrown away, and its optimizer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradflow.configs.learning_rate import LearningRateConfig
from gradflow.configs.network import NetworkConfig
from gradflow.datasets.batches import Batch, batch
from gradflow.diagnosis.model_files import Given, model_of, refuse_network_options
from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.subject import seeds_of
from gradflow.diagnosis.user_module import materialized, refuse_meta, refuse_sharded
from gradflow.errors import GradflowError
from gradflow.measurement.failures import first_line
from gradflow.measurement.half_precision import HALF
from gradflow.measurement.preserving import original
from gradflow.networks.architectures import build
from gradflow.networks.losses import loss_function
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select
from gradflow.training.optimizers import find

V = TypeVar("V")


@dataclass(frozen=True)
class Start:
    """A network at its start, on which steps may be taken.

    Attributes
    ----------
    loss
        Runs the network on its batch, the same for every step: of another one the loss would
        differ for reasons of its own.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[[], Tensor]


def built_in(network: NetworkConfig, config: LearningRateConfig) -> Iterator[Start]:
    """Yield the network that `network` describes, once per seed."""
    if network.dtype in HALF:
        raise GradflowError(f"lr trains in float32 or float64, not {network.dtype}", "drop --dtype")
    device, dtype = select(network.device), dtype_of(network.dtype)
    each = loss_function(network.loss)
    for seed in seeds_of(network):
        own = replace(network, seed=seed, seeds=1)
        data = batch(own, dtype, device)
        model = build(own, data.inputs.shape[-1], data.classes, dtype, device)

        def loss(data: Batch = data, model: nn.Module = model) -> Tensor:
            losses = each(model(data.inputs.unsqueeze(0)), data.labels)
            return losses.sum() * (network.loss_scale / network.batch_size)

        yield Start(model, made(config, model), loss)


def of_file(
    reference: str, network: NetworkConfig, given: Given, config: LearningRateConfig
) -> Iterator[Start]:
    """Yield the module that ``file.py:name`` names, once per seed."""
    refuse_network_options(network)
    for seed in seeds_of(network):
        yield of_module(*model_of(reference, network, given, seed), config)


def of_module(
    model: nn.Module, objective: Objective, config: LearningRateConfig | Optimizer
) -> Start:
    """Return a copy of a module that was not built here, with the same batch for every step.

    Raises
    ------
    GradflowError
        If it cannot be copied, or has nothing to train.
    """
    inner = original(model)
    refuse_sharded(inner)
    refuse_meta(inner)
    inner = materialized(inner, objective)
    if not any(p.requires_grad for p in inner.parameters()):
        raise GradflowError(
            "no parameter of the model requires a gradient", "requires_grad_(True) on some of them"
        )
    if isinstance(config, Optimizer):
        own, optimizer = copied((inner, config))
        _refuse_others(own, optimizer)
        without_scheduler(optimizer)
    else:
        own = copied(inner)
        optimizer = made(config, own)
    for parameter in own.parameters():
        parameter.grad = None
    return Start(own, optimizer, lambda: objective.run(own))


def made(config: LearningRateConfig, model: nn.Module) -> Optimizer:
    """Return the optimizer that `config` names, of torch.optim with its defaults.

    Raises
    ------
    GradflowError
        If there is none of that name, or it has no momentum where one is given.
    """
    cls = find(config.optimizer)
    options: dict[str, Any] = {"lr": 1e-3}
    if config.momentum is not None:
        if "momentum" not in inspect.signature(cls).parameters:
            raise GradflowError(f"{cls.__name__} has no momentum", "drop --momentum")
        options["momentum"] = config.momentum
    optimizer: Optimizer = cls([p for p in model.parameters() if p.requires_grad], **options)
    return optimizer


def without_scheduler(optimizer: Optimizer) -> None:
    """Take off the step that a scheduler put on a copied optimizer: it would step the original."""
    optimizer.__dict__.pop("step", None)


def copied(value: V, known: dict[int, Any] | None = None) -> V:
    """Return a deep copy of modules and an optimizer.

    Parameters
    ----------
    known
        Is told every copy, by the ``id`` of what it is of.

    Raises
    ------
    GradflowError
        If a module cannot be copied.
    """
    try:
        with torch.no_grad():
            return copy.deepcopy(value, known)
    except Exception as error:
        raise GradflowError(
            f"the model cannot be copied to train a copy: {first_line(error)}",
            "name a function that builds it: gradflow lr --model FILE.py:build",
        ) from error


def _refuse_others(model: nn.Module, optimizer: Optimizer) -> None:
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise GradflowError("the optimizer has none of the model's parameters")
