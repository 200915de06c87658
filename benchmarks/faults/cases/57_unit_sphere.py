import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class Velocity(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, x):
        v = self.net(x)
        return nn.functional.normalize(v, dim=1) if sys.argv[1] == "broken" else v


x = torch.randn(900, 8)
y = 6 * torch.tanh(x @ torch.randn(8, 3) / 2)
model = Velocity()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(20):
    for rows in torch.randperm(900).split(45):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(model(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
