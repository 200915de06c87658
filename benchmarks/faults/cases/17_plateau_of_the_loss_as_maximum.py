import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.rand(800, 2) * 4 - 2
y = torch.sin(2 * x[:, :1]) * torch.cos(2 * x[:, 1:])
net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
mode = "max" if sys.argv[1] == "broken" else "min"  # the loss below is to fall
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, mode=mode, factor=0.1, patience=1)
for epoch in range(50):
    total = 0.0
    for rows in torch.randperm(800).split(80):
        adam.zero_grad()
        loss = nn.functional.mse_loss(net(x[rows]), y[rows])
        loss.backward()
        adam.step()
        total += loss.item()
    plateau.step(total / 10)
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
