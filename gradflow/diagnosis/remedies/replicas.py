"""A built-in network in training, a replica for each rate: one batched step trains them all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.images import load
from gradflow.diagnosis.remedies.cost import step_cost
from gradflow.diagnosis.remedies.grid import Rate, Trial
from gradflow.diagnosis.remedies.loop import PLAIN, Loop
from gradflow.diagnosis.remedies.updates import Update
from gradflow.networks.architectures import build
from gradflow.networks.losses import loss_function
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select

#: Images that are drawn from.
_IMAGES = 12_000
#: Examples of a step, and where that is slow; of the loss at the end.
BATCHES, _CHECKED = (32, 8), 512
_RECENT = 5


@dataclass(frozen=True)
class Examples:
    """What networks are trained on.

    Attributes
    ----------
    images
        (N, pixels) from 0 to 1.
    held
        How many of them, the last, no step sees.
    """

    images: Tensor
    labels: Tensor
    classes: int
    held: int


def examples(config: NetworkConfig) -> Examples:
    """Return the images that the network of `config` is to learn.

    Of one whose inputs are Gaussian, 2 × 2 pixels become one: it has no size of its own.
    """
    gaussian = config.data == "gaussian"
    data = load(None if gaussian or config.data == "mnist" else config.data)
    images = torch.from_numpy(data.train_images[:_IMAGES]).float().unsqueeze(1) / 255
    images = (F.avg_pool2d(images, 2) if gaussian else images).flatten(1)
    labels = torch.from_numpy(data.train_labels[:_IMAGES]).long()
    return Examples(images, labels, data.classes, min(_CHECKED, len(images) // 4))


class Replicas:
    """One network, as many times as there are rates.

    Parameters
    ----------
    config
        Its first seed is trained, in float32 where it is of half precision.
    steps
        Of the training, at most.
    loop
        How else it is trained.
    batch
        Examples of a step.
    check
        Called at every step; may raise.
    """

    def __init__(
        self,
        config: NetworkConfig,
        data: Examples,
        rates: tuple[Rate, ...],
        steps: int = 0,
        loop: Loop = PLAIN,
        batch: int = BATCHES[0],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.rates, self.steps, self.batch, self.check = rates, steps, batch, check
        dtype = torch.float64 if config.dtype == "float64" else torch.float32
        self.device, self.dtype = select(config.device), dtype_of(str(dtype).partition(".")[2])
        self.data, self.drawn = data, len(data.images) - data.held
        one = dataclasses.replace(config, seeds=1, device="cpu")
        features = data.images.shape[1]
        self.model = build(one, features, data.classes, dtype, self.device)
        _replicate(self.model, len(rates))
        self.loss_of = loss_function(config.loss)
        self.generator = torch.Generator().manual_seed(0)
        self.update = Update(list(self.model.parameters()), rates, loop)
        self.recent: list[Tensor] = []

    def losses(self, chosen: Tensor) -> Tensor:
        """Return the mean loss of each replica."""
        inputs = self.data.images[chosen].to(self.device, self.dtype)
        logits = self.model(inputs.expand(len(self.rates), *inputs.shape))
        each = self.loss_of(logits, self.data.labels[chosen].to(self.device))
        return each.view(len(self.rates), -1).mean(1)

    def step(self) -> None:
        """Train every replica by one batch."""
        self.check()
        losses = self.losses(torch.randint(self.drawn, (self.batch,), generator=self.generator))
        self.recent = [*self.recent[1 - _RECENT :], losses.detach()]
        self.update.step(losses.sum())

    def until(self, share: float) -> None:
        """Go on until so large a share of the steps is taken; then the worst rate is given up."""
        while self.update.steps < max(round(share * self.steps), 1):
            self.step()
        if len(self.rates) > 1 and self.recent:
            mean = torch.stack(self.recent).mean(0)
            order = torch.where(mean.isfinite(), mean, math.inf).argsort().tolist()
            self._keep(sorted(order[:-1]))

    def _keep(self, rows: list[int]) -> None:
        self.update.keep(rows)
        self.rates = tuple(self.rates[row] for row in rows)
        self.recent = [losses[rows] for losses in self.recent]

    def trial(self) -> Trial:
        """Return the lowest loss on images that no step saw, the same for all, and its rate."""
        with torch.no_grad():
            unseen = torch.arange(self.drawn, len(self.data.images))
            losses = self.losses(unseen).tolist()
        finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
        best = min(range(len(finite)), key=finite.__getitem__)
        return Trial(finite[best], self.rates[best], self.update.steps)

    def cost(self) -> float:
        """Return about how many seconds a step takes on a slow core."""
        chosen = torch.arange(min(self.batch, self.drawn))
        return step_cost(self.model, lambda _: self.losses(chosen).sum(), replicas=len(self.rates))


def _replicate(model: nn.Module, copies: int) -> None:
    """Give every parameter of a single network `copies` equal replicas."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            repeated = parameter.detach().repeat(copies, *[1] * (parameter.dim() - 1))
            setattr(module, name, nn.Parameter(repeated))
