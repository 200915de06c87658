"""Programs that tests run and watch."""

from __future__ import annotations

import textwrap
from pathlib import Path

#: A classifier of two Gaussian clouds, its loop around `STEPS` steps.
HEAD = """
import sys
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.randn(32, 6)
y = (x[:, 0] > 0).long()


def network():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
"""

LOOP = """
net = network()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
"""


def program(folder: Path, *parts: str, name: str = "train.py") -> Path:
    """Write a program that is made of `parts`; return its path."""
    path = folder / name
    path.write_text("\n".join(textwrap.dedent(part) for part in parts), encoding="utf-8")
    return path
