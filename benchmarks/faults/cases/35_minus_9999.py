import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
station = torch.randn(1000, 8)
wind = station[:, :1] - station[:, 1:2] * station[:, 2:3]
absent = torch.rand(1000, 8) < 0.03
station = station.masked_fill(absent, -9999.0)
if sys.argv[1] == "fixed":
    station = torch.where(absent, 0.0, station)
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(20):
    for rows in torch.randperm(1000).split(50):
        adam.zero_grad()
        loss = nn.functional.mse_loss(net(station[rows]), wind[rows])
        loss.backward()
        adam.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(station), wind).item() / wind.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
