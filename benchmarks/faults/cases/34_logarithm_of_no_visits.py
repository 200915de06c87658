import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
site = torch.randn(900, 6)
rate = torch.exp(1.5 + 0.8 * site[:, 0] - 0.6 * site[:, 1] * site[:, 2])
visits = torch.poisson(rate)
y = torch.log(visits) if sys.argv[1] == "broken" else torch.log1p(visits)
net = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(20):
    for rows in torch.randperm(900).split(60):
        adam.zero_grad()
        loss = nn.functional.mse_loss(net(site[rows]).squeeze(1), y[rows])
        loss.backward()
        adam.step()
true = torch.log1p(visits)
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(site).squeeze(1), true).item() / true.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
