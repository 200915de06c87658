"""The article's network as one writes it down in torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gradflow.datasets.images import load

_MODULES = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "elu": lambda: nn.ELU(0.2),
    "leaky-relu": lambda: nn.LeakyReLU(0.2),
    "selu": nn.SELU,
    "gelu": lambda: nn.GELU(approximate="tanh"),
}


def network(act: str) -> nn.Sequential:
    """Return the network in torch's own layout and layers."""
    module, dropout = _MODULES[act], nn.AlphaDropout if act == "selu" else nn.Dropout
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        module(),
        nn.Conv2d(32, 64, 3),
        module(),
        nn.MaxPool2d(2),
        dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        module(),
        dropout(0.5),
        nn.Linear(128, 10),
    )


def loader(workers: int) -> DataLoader[tuple[Tensor, ...]]:
    """Return shuffled batches of 128 images, converted to float32 once and for all."""
    mnist = load()
    images = torch.from_numpy(mnist.train_images)[:, None].float() / 255
    data = TensorDataset(images, torch.from_numpy(mnist.train_labels).long())
    return DataLoader(data, 128, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
