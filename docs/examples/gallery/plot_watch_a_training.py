"""
Watch a training loop
=====================

``gradflow.watch`` goes around a training loop and leaves it as it is. Here a network of eight
layers is trained with a learning rate that is a thousand times too small.
"""

# %%
# The training is a function of the learning rate, so that it can be run twice.
import torch
from torch import nn

import gradflow

torch.manual_seed(0)
centres = torch.randn(10, 32)
labels = torch.randint(10, (2000,))
points = centres[labels] + 0.3 * torch.randn(2000, 32)


def trained(rate):
    torch.manual_seed(0)
    layers = [nn.Linear(32, 64), nn.ReLU()]
    for _ in range(7):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with gradflow.watch(model) as watch:
        for _ in range(100):
            rows = torch.randint(2000, (128,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(points[rows]), labels[rows]).backward()
            optimizer.step()
    return watch.result()


# %%
# What gradflow says of it. The column ``update`` is how far a step moves a layer's weights, as a
# share of their size: far below the usual 10⁻³.
slow = trained(1e-6)
print(slow)

# %%
# With a usual learning rate:
right = trained(1e-3)
print(right.title)
figure = right.figure()
