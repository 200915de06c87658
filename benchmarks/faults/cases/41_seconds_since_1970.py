import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
hour = torch.rand(1000, 1) * 24
when = 1.7e9 + hour * 3600
weather = torch.randn(1000, 4)
load = torch.sin(hour / 24 * 6.283) + 0.5 * weather[:, :1]
clock = when if sys.argv[1] == "broken" else (when - when.mean()) / when.std()
x = torch.cat([clock, weather], 1)
net = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(25):
    for rows in torch.randperm(1000).split(50):
        adam.zero_grad()
        loss = nn.functional.mse_loss(net(x[rows]), load[rows])
        loss.backward()
        adam.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(x), load).item() / load.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
