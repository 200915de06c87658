"""What the networks of a sweep learn: every one, at several rates, in one batched step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.images import load
from gradflow.diagnosis.remedies.grid import Rate
from gradflow.diagnosis.remedies.updates import Update
from gradflow.networks.losses import loss_function
from gradflow.sweeps.grid import Task
from gradflow.sweeps.scaling import drawn
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select

#: Of SGD with a momentum of 0.9; the best of them counts.
RATES = (1e-3, 1e-2, 1e-1)
#: Examples of a step, and images of the test set whose labels are predicted.
_BATCH, _TESTED = 64, 1000


@dataclass(frozen=True)
class Learnt:
    """What one network came to: its best test accuracy, and the rate that gave it."""

    accuracy: float
    rate: float


class Images:
    """Images of (N, pixels) from 0 to 1 with their labels, on a device."""

    def __init__(self, config: NetworkConfig, dtype: torch.dtype, device: torch.device) -> None:
        data = load(None if config.data == "mnist" else config.data)
        self.classes = data.classes
        self.train = _flat(data.train_images).to(device, dtype)
        self.train_labels = torch.from_numpy(data.train_labels).long().to(device)
        self.test = _flat(data.test_images[:_TESTED]).to(device, dtype)
        self.test_labels = torch.from_numpy(data.test_labels[:_TESTED]).long().to(device)


def trained(task: Task, steps: int) -> list[Learnt]:
    """Train the first seed's network of every point; return what each came to, point by point."""
    one = task.config.network(task.act, task.width, task.depth)
    device, dtype = select(one.device), dtype_of(one.dtype)
    images = Images(one, dtype, device)
    pairs = list(itertools.product(task.points, RATES))
    each = replace(task, points=tuple(point for point, _ in pairs))
    model = drawn(each, images.train.shape[1], images.classes, dtype, 1).to(device)
    update = Update(list(model.parameters()), [Rate("sgd", rate) for _, rate in pairs])
    losses = _Losses(model, one, images, len(pairs))
    for _ in range(steps):
        update.step(losses.next())
    reached = accuracies(model, images, len(pairs))
    return [_best(reached[i : i + len(RATES)]) for i in range(0, len(pairs), len(RATES))]


class _Losses:
    """The losses of batches that are the same for all networks."""

    def __init__(
        self, model: nn.Module, config: NetworkConfig, images: Images, networks: int
    ) -> None:
        self.model, self.images, self.networks = model, images, networks
        self.loss = loss_function(config.loss)
        self.generator = torch.Generator().manual_seed(config.seed)

    def next(self) -> Tensor:
        """Return the sum over the networks of their mean losses."""
        of = len(self.images.train)
        chosen = torch.randint(of, (_BATCH,), generator=self.generator).to(self.images.train.device)
        inputs = self.images.train[chosen]
        logits = self.model(inputs.expand(self.networks, *inputs.shape))
        each = self.loss(logits, self.images.train_labels[chosen])
        return each.view(self.networks, -1).mean(1).sum()


@torch.no_grad()
def accuracies(model: nn.Module, images: Images, networks: int) -> list[float]:
    """Return the share of the test images that each network tells; of one without numbers, 0."""
    right = torch.zeros(networks)
    for start in range(0, len(images.test), _BATCH):
        inputs = images.test[start : start + _BATCH]
        logits = model(inputs.expand(networks, *inputs.shape))
        told = logits.argmax(-1) == images.test_labels[start : start + _BATCH]
        right += (told & logits.isfinite().all(-1)).sum(1).cpu()
    return [float(count) / len(images.test) for count in right]


def _best(reached: list[float]) -> Learnt:
    place = max(range(len(reached)), key=reached.__getitem__)
    return Learnt(reached[place], RATES[place])


def _flat(images: object) -> Tensor:
    return torch.as_tensor(images).flatten(1).float() / 255
