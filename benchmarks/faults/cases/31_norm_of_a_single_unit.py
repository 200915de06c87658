import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class Curve(nn.Module):
    def __init__(self, normalise):
        super().__init__()
        self.enter = nn.LayerNorm(1) if normalise else nn.Identity()
        self.body = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        return self.out(self.body(self.enter(x)))


x = torch.rand(600, 1) * 6 - 3
y = torch.sin(x) * x
model = Curve(normalise=sys.argv[1] == "broken")
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(30):
    for rows in torch.randperm(600).split(50):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
nmse = nn.functional.mse_loss(model(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
