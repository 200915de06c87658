"""A built-in network in training, a replica for each rate: one batched step trains them all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.images import Dataset
from gradflow.diagnosis.remedies.cost import step_cost
from gradflow.diagnosis.remedies.grid import Rate, Trial
from gradflow.diagnosis.remedies.updates import Update
from gradflow.networks.architectures import build
from gradflow.networks.losses import loss_function
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select

#: Images that are drawn from.
_IMAGES = 12_000
#: Examples of a step, and of the loss at the end.
_BATCH, _CHECKED = 32, 512


class Replicas:
    """One network, as many times as there are rates.

    Parameters
    ----------
    config
        Its first seed is trained, in float32 where it is of half precision.
    clip
        Norm that each replica's gradients are clipped to.
    """

    def __init__(
        self, config: NetworkConfig, data: Dataset, rates: tuple[Rate, ...], clip: float | None
    ) -> None:
        self.rates = rates
        dtype = torch.float64 if config.dtype == "float64" else torch.float32
        self.device, self.dtype = select(config.device), dtype_of(str(dtype).partition(".")[2])
        self.images = _images(data, pooled=config.data == "gaussian")
        self.labels = torch.from_numpy(data.train_labels[:_IMAGES]).long()
        one = dataclasses.replace(config, seeds=1, device="cpu")
        features = self.images.shape[1]
        self.model = build(one, features, data.classes, dtype, self.device)
        _replicate(self.model, len(rates))
        self.loss_of = loss_function(config.loss)
        self.generator = torch.Generator().manual_seed(0)
        self.update = Update(list(self.model.parameters()), rates, clip)

    def losses(self, examples: Tensor) -> Tensor:
        """Return the mean loss of each replica."""
        inputs = self.images[examples].to(self.device, self.dtype)
        logits = self.model(inputs.expand(len(self.rates), *inputs.shape))
        each = self.loss_of(logits, self.labels[examples].to(self.device))
        return each.view(len(self.rates), -1).mean(1)

    def step(self) -> None:
        """Train every replica by one batch; one whose loss is no number stays as it is."""
        chosen = torch.randint(len(self.images), (_BATCH,), generator=self.generator)
        self.update.step(self.losses(chosen).sum())

    def best(self) -> Trial:
        """Return the lowest loss on examples that are the same for all, and its rate."""
        with torch.no_grad():
            losses = self.losses(torch.arange(min(_CHECKED, len(self.images)))).tolist()
        finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
        lowest = min(range(len(finite)), key=finite.__getitem__)
        return Trial(finite[lowest], self.rates[lowest])

    def cost(self) -> float:
        """Return about how many seconds a step takes on a slow core."""
        chosen = torch.arange(min(_BATCH, len(self.images)))
        return step_cost(self.model, lambda _: self.losses(chosen).sum(), replicas=len(self.rates))


def trained(
    config: NetworkConfig,
    data: Dataset,
    rates: tuple[Rate, ...],
    steps: int,
    clip: float | None,
    check: Callable[[], None],
) -> Trial:
    """Train the network of `config` at every rate, and return the best."""
    replicas = Replicas(config, data, rates, clip)
    for _ in range(steps):
        check()
        replicas.step()
    return replicas.best()


def _images(data: Dataset, *, pooled: bool) -> Tensor:
    """Images of (N, pixels) from 0 to 1.

    Parameters
    ----------
    pooled
        Whether 2 × 2 pixels become one: a network whose inputs are Gaussian has no size of its own.
    """
    images = torch.from_numpy(data.train_images[:_IMAGES]).float().unsqueeze(1) / 255
    return (F.avg_pool2d(images, 2) if pooled else images).flatten(1)


def _replicate(model: nn.Module, copies: int) -> None:
    """Give every parameter of a single network `copies` equal replicas."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            repeated = parameter.detach().repeat(copies, *[1] * (parameter.dim() - 1))
            setattr(module, name, nn.Parameter(repeated))
