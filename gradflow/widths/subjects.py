"""What is trained: a network of a width and a seed, its optimizer, and the batch for every step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from gradflow.configs.network import NetworkConfig
from gradflow.configs.width import WidthConfig, WidthNetwork
from gradflow.datasets.batches import batch
from gradflow.diagnosis.model_files import (
    Found,
    Given,
    as_found,
    located,
    objective_for,
    refuse_network_options,
)
from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.user_module import materialized, refuse_meta, refuse_sharded
from gradflow.errors import GradflowError, out_of_memory
from gradflow.measurement.failures import failure
from gradflow.measurement.preserving import original
from gradflow.networks.architectures import build
from gradflow.networks.losses import loss_function
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select
from gradflow.training.optimizers import find

#: Width that Gaussian inputs are drawn for, whatever the network's: odd, so that none divides it.
_INPUTS = 17


@dataclass(frozen=True)
class Start:
    """A network at its start, on which steps are taken."""

    model: nn.Module
    optimizer: Optimizer
    objective: Objective


class Maker(Protocol):
    """Makes networks of any width."""

    def start(self, width: int, seed: int, config: WidthConfig) -> Start:
        """Return a new network with its optimizer and its batch."""


@dataclass(frozen=True)
class BuiltIn:
    """Makes the networks that a config describes."""

    network: WidthNetwork

    def start(self, width: int, seed: int, config: WidthConfig) -> Start:
        """Return a network; its inputs are the same at every width and for every seed."""
        own = self.network.of(width, seed)
        device, dtype = select(own.device), dtype_of(own.dtype)
        data = batch(self._inputs(), dtype, device)
        model = build(own, data.inputs.shape[-1], data.classes, dtype, device)
        each = loss_function(own.loss)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            return each(logits, labels).sum() * (own.loss_scale / own.batch_size)

        return Start(
            model,
            _optimizer(model, config, own.lr),
            Objective(data.inputs.unsqueeze(0), data.labels, loss),
        )

    def _inputs(self) -> NetworkConfig:
        return replace(self.network, width=_INPUTS)


@dataclass(frozen=True)
class InFile:
    """Makes the networks that a function in a file returns."""

    reference: str
    network: WidthNetwork
    given: Given

    def start(self, width: int, seed: int, config: WidthConfig) -> Start:
        """Return a network, torch seeded before the file is run and the network made."""
        refuse_network_options(self.network)
        torch.manual_seed(seed)
        found, optimizer = _made(self.reference, located(self.reference), width, seed)
        model = _placed(found.model, self.network, optimizer)
        objective = objective_for(found, self.network, self.given)
        return _start(model, optimizer, objective, config, self.network.lr)


@dataclass(frozen=True)
class OfFunction:
    """Makes the networks that a function of the width returns, in this process."""

    function: Callable[..., Any]
    objective: Objective
    lr: float

    def start(self, width: int, seed: int, config: WidthConfig) -> Start:
        """Return a network, torch seeded before it is made."""
        found, optimizer = _made("the function", self.function, width, seed)
        objective = self.objective
        if objective.inputs is None:
            objective = Objective(found.inputs, found.targets, found.loss)
        if objective.inputs is None:
            raise GradflowError("width() needs inputs", "or return (model, inputs, targets, loss)")
        return _start(found.model, optimizer, objective, config, self.lr)


def _start(
    model: nn.Module,
    optimizer: Optimizer | None,
    objective: Objective,
    config: WidthConfig,
    lr: float,
) -> Start:
    inner = original(model)
    refuse_sharded(inner)
    refuse_meta(inner)
    inner = materialized(inner, objective)
    if not any(p.requires_grad for p in inner.parameters()):
        raise GradflowError(
            "no parameter of the model requires a gradient", "requires_grad_(True) on some of them"
        )
    if isinstance(optimizer, LBFGS):
        raise GradflowError("LBFGS computes the loss anew within a step", "another optimizer")
    return Start(inner, optimizer or _optimizer(inner, config, lr), objective)


def _optimizer(model: nn.Module, config: WidthConfig, lr: float) -> Optimizer:
    cls = find(config.optimizer)
    made: Optimizer = cls([p for p in model.parameters() if p.requires_grad], lr=lr)
    return made


def _placed(model: nn.Module, network: WidthNetwork, optimizer: Optimizer | None) -> nn.Module:
    """The model on its device, where no optimizer holds its parameters already."""
    refuse_meta(model)
    if optimizer is not None:
        return model
    return model.to(select(network.device), dtype_of(network.dtype))


def _made(reference: str, function: Any, width: int, seed: int) -> tuple[Found, Optimizer | None]:
    """What a function makes of a width, and the optimizer where it returns one.

    Raises
    ------
    GradflowError
        If it takes no width, raises, or returns no module.
    """
    arguments, keywords = _call(reference, function, width)
    torch.manual_seed(seed)
    try:
        value = function(*arguments, **keywords)
    except GradflowError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise failure(error, None, f"'{reference}' at width {width}") from error
    parts = value if isinstance(value, tuple) else (value,)
    optimizers = [part for part in parts if isinstance(part, Optimizer)]
    found = as_found(reference, tuple(p for p in parts if not isinstance(p, Optimizer)))
    return found, next(iter(optimizers), None)


def _call(reference: str, function: Any, width: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a function is given its width: by name where it has one of that name."""
    hint = "like def build(width): …"
    if isinstance(function, nn.Module) or not callable(function):
        raise GradflowError(f"'{reference}' is no function of the width", hint)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return (width,), {}
    for arguments, keywords in (((), {"width": width}), ((width,), {})):
        try:
            signature.bind(*arguments, **keywords)
        except TypeError:
            continue
        return arguments, keywords
    raise GradflowError(f"'{reference}' cannot be called with a width alone", hint)
