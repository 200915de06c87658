"""Ordinary networks as torch initialises them, which train: none is sick, whoever trains it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import gradflow
from gradflow.datasets.images import load


def digits(rows: bool = False) -> tuple[Tensor, Tensor]:
    """Return 64 standardised images of MNIST, pooled to 14 × 14, and their labels."""
    data = load()
    images = torch.from_numpy(data.train_images[:64]).float().unsqueeze(1)
    pooled = nn.functional.avg_pool2d(images, 2)
    pooled = (pooled - pooled.mean()) / pooled.std()
    return (pooled[:, 0] if rows else pooled), torch.from_numpy(data.train_labels[:64]).long()


def cnn(depth: int, act: Callable[[], nn.Module]) -> nn.Sequential:
    """Return convolutions without normalisation, pooled halfway."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(16 if i else 1, 16, 3, padding=1), act()]
        layers += [nn.MaxPool2d(2)] if i == depth // 2 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 49, 10))


def dense(hidden: int, act: Callable[[], nn.Module]) -> nn.Sequential:
    """Return dense layers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(hidden):
        layers += [nn.Linear(128 if i else 196, 128), act()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


class Recurrent(nn.Module):
    """A recurrent layer that answers from its last state."""

    def __init__(self, cell: type[nn.RNNBase], layers: int = 1) -> None:
        super().__init__()
        self.cell, self.head = cell(14, 48, layers, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.cell(x)[0][:, -1])
        return scores


IMAGES: dict[str, Callable[[], nn.Module]] = {
    "cnn of 3": lambda: cnn(3, nn.ReLU),
    "cnn of 4": lambda: cnn(4, nn.GELU),
    "cnn of 5": lambda: cnn(5, nn.ReLU),
    "three sigmoid layers": lambda: dense(3, nn.Sigmoid),
    "six tanh layers": lambda: dense(6, nn.Tanh),
}
ROWS: dict[str, Callable[[], nn.Module]] = {
    "tanh recurrence": lambda: Recurrent(nn.RNN),
    "GRU": lambda: Recurrent(nn.GRU),
    "two GRU layers": lambda: Recurrent(nn.GRU, 2),
    "LSTM": lambda: Recurrent(nn.LSTM),
}


@pytest.mark.parametrize("name", [*IMAGES, *ROWS])
def test_an_ordinary_network_is_healthy(name: str) -> None:
    torch.manual_seed(0)
    model = (IMAGES | ROWS)[name]()
    for optimizer in (None, "adam"):
        result = gradflow.diagnose(model, *digits(name in ROWS), optimizer=optimizer)
        assert result.verdict == "healthy", result.findings
