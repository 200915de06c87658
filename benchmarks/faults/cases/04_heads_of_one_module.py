import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class FourTasks(nn.Module):
    def __init__(self, broken):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        if broken:
            self.heads = nn.ModuleList([nn.Linear(64, 1)] * 4)
        else:
            self.heads = nn.ModuleList([nn.Linear(64, 1) for _ in range(4)])

    def forward(self, x):
        h = self.trunk(x)
        return torch.cat([head(h) for head in self.heads], 1)


x = torch.randn(800, 10)
y = torch.tanh(x @ torch.randn(10, 4))
y = y * torch.tensor([1.0, -1.0, 1.0, -1.0])
net = FourTasks(sys.argv[1] == "broken")
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(20):
    for rows in torch.randperm(800).split(50):
        opt.zero_grad()
        loss = nn.functional.mse_loss(net(x[rows]), y[rows])
        loss.backward()
        opt.step()
nmse = nn.functional.mse_loss(net(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
