"""A training loop under `gradflow.watch`: `python watch_training.py watch.png`."""

import sys

import gradflow
import numpy as np
import torch
from gradflow.datasets.images import load
from rich import print as show
from torch import nn
from torch.nn import functional as F


def main(figure: str) -> None:
    """Train eight ReLU layers on MNIST for 200 steps, the gradient clipped to a norm of 1."""
    torch.manual_seed(0)
    data = load()
    images = torch.from_numpy(data.train_images).flatten(1).float() / 255
    labels = torch.from_numpy(data.train_labels).long()
    layers = [nn.Linear(784, 64), nn.ReLU()]
    for _ in range(7):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    order = np.random.default_rng(0)

    with gradflow.watch(model, every=4) as w:
        for _ in range(200):
            chosen = torch.from_numpy(order.integers(len(images), size=128))
            optimizer.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    result = w.result()
    show(result)
    result.save(figure)


if __name__ == "__main__":
    main(sys.argv[1])
