import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(900, 10)
warmth = torch.sin(2 * x[:, :1]) + x[:, 1:2]
pressure = 101_300 + 900 * (x[:, 2:3] * x[:, 3:4])  # in pascal
if sys.argv[1] == "fixed":
    pressure = (pressure - pressure.mean()) / pressure.std()
net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(25):
    for rows in torch.randperm(900).split(50):
        out = net(x[rows])
        adam.zero_grad()
        loss = nn.functional.mse_loss(out[:, :1], warmth[rows])
        loss = loss + nn.functional.mse_loss(out[:, 1:], pressure[rows])
        loss.backward()
        adam.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(x)[:, :1], warmth).item() / warmth.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
