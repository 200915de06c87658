"""What the calibration networks learn: batches of inputs and targets, and a loss for each task.

Everything comes from the embedded MNIST (pooled to 14 × 14, standardised) or is drawn; a task
says what a constant prediction would lose, so that "learns" means the same for all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gradflow.datasets.images import load

SIDE = 14
BLANK = 14  # steps after the last row of an image: what came before has to be remembered

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """What is learnt.

    Attributes
    ----------
    batch
        (size, generator) -> inputs and targets.
    loss
        (output, targets) -> the mean over the batch.
    constant
        The loss of the best prediction that does not look at the inputs.
    """

    batch: Callable[[int, torch.Generator], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    constant: float


@functools.cache
def digits() -> Batch:
    """Return 12,000 images (N, 1, 14, 14), standardised, and their labels."""
    data = load()
    images = torch.from_numpy(data.train_images[:12_000]).float().unsqueeze(1) / 255
    pooled = F.avg_pool2d(images, 2)
    return (pooled - pooled.mean()) / pooled.std(), torch.from_numpy(
        data.train_labels[:12_000]
    ).long()


def _drawn(size: int, generator: torch.Generator) -> Batch:
    images, labels = digits()
    chosen = torch.randint(len(images), (size,), generator=generator)
    return images[chosen], labels[chosen]


def images() -> Task:
    """Classify the digits as images."""
    return Task(_drawn, F.cross_entropy, math.log(10))


def rows(blank: int = 0) -> Task:
    """Classify the digits read row by row, with blank steps behind them."""

    def batch(size: int, generator: torch.Generator) -> Batch:
        pixels, labels = _drawn(size, generator)
        return F.pad(pixels.squeeze(1), (0, 0, 0, blank)), labels

    return Task(batch, F.cross_entropy, math.log(10))


def reconstruction() -> Task:
    """Give the image back, pixel by pixel."""

    def batch(size: int, generator: torch.Generator) -> Batch:
        pixels, _ = _drawn(size, generator)
        return pixels, pixels

    constant = digits()[0].var(0, correction=0).mean().item()
    return Task(batch, F.mse_loss, constant)


def denoising() -> Task:
    """Give the image back from one with noise."""

    def batch(size: int, generator: torch.Generator) -> Batch:
        pixels, _ = _drawn(size, generator)
        return pixels + 0.5 * torch.randn(pixels.shape, generator=generator), pixels

    return Task(batch, F.mse_loss, digits()[0].var(0, correction=0).mean().item())


def elbo() -> Task:
    """Reconstruct through a sampled code; the module returns its output and the KL divergence."""

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        pixels, divergence = output[:, :-1], output[:, -1]
        return F.mse_loss(pixels, targets.flatten(1)) + 1e-3 * divergence.mean()

    return Task(reconstruction().batch, loss, reconstruction().constant)


def regression(features: int = 16, scale: float = 1.0) -> Task:
    """Predict a smooth function of noise-free features; `scale` of the targets."""
    fixed = torch.Generator().manual_seed(7)
    first, second = (torch.randn(features, 8, generator=fixed) / features**0.5 for _ in range(2))

    def batch(size: int, generator: torch.Generator) -> Batch:
        x = torch.randn(size, features, generator=generator)
        y = (torch.tanh(2 * x @ first) * (x @ second)).sum(1, keepdim=True)
        return x, scale * y

    _, sample = batch(20_000, torch.Generator().manual_seed(8))
    return Task(batch, F.mse_loss, sample.var(correction=0).item())


def graphs(nodes: int = 16) -> Task:
    """Tell whether two communities of a drawn graph are joined: (adjacency | features) a node.

    The label is which of two kinds of feature has more edges inside, read off the whole graph.
    """

    def batch(size: int, generator: torch.Generator) -> Batch:
        kind = torch.randint(2, (size, nodes), generator=generator).float()
        label = torch.randint(2, (size,), generator=generator)
        same = kind.unsqueeze(1) == kind.unsqueeze(2)
        wanted = (kind == label.unsqueeze(1)).unsqueeze(1)
        chance = torch.where(same & wanted, 0.7, 0.2)
        edges = (torch.rand(size, nodes, nodes, generator=generator) < chance).float().triu(1)
        edges = edges + edges.mT
        features = torch.stack([kind, 1 - kind], 2)
        return torch.cat([edges, features], 2), label

    return Task(batch, F.cross_entropy, math.log(2))


def density(features: int = 8) -> Task:
    """Model correlated, skewed data: the module returns −log p of each example."""
    fixed = torch.Generator().manual_seed(9)
    mixing = torch.randn(features, features, generator=fixed) / features**0.5

    def batch(size: int, generator: torch.Generator) -> Batch:
        x = torch.randn(size, features, generator=generator) @ mixing
        x = x + 0.5 * x.roll(1, 1) ** 2
        return x, torch.zeros(size)

    sample, _ = batch(20_000, torch.Generator().manual_seed(10))
    bits = 0.5 * (torch.log(2 * math.pi * math.e * sample.var(0))).sum().item()
    return Task(batch, lambda output, _: output.mean(), bits)


def copying(length: int = 12, vocabulary: int = 8) -> Task:
    """Say at the end which token came first."""

    def batch(size: int, generator: torch.Generator) -> Batch:
        tokens = torch.randint(vocabulary, (size, length), generator=generator)
        return tokens, tokens[:, 0]

    return Task(batch, F.cross_entropy, math.log(vocabulary))


def friedman(criterion: Callable[[Tensor, Tensor], Tensor]) -> Task:
    """Predict Friedman's function of the first five of ten features, standardised."""

    def batch(size: int, generator: torch.Generator) -> Batch:
        x = torch.rand(size, 10, generator=generator)
        curved = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
        y = curved + 10 * x[:, 3] + 5 * x[:, 4]
        return x, ((y - 14.4) / 4.9).unsqueeze(1)

    _, sample = batch(20_000, torch.Generator().manual_seed(8))
    middle = sample.median() if criterion is F.l1_loss else sample.mean()
    return Task(batch, criterion, criterion(middle.expand_as(sample), sample).item())
