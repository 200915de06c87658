import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class Residual(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)
        nn.init.kaiming_normal_(self.a.weight)
        nn.init.kaiming_normal_(self.b.weight)
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.b(torch.relu(self.a(x)))


scale = 2.0 if sys.argv[1] == "broken" else 0.1
net = nn.Sequential(nn.Linear(10, 32), *(Residual(scale) for _ in range(30)), nn.Linear(32, 1))
x = torch.randn(600, 10)
y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(16):
    for rows in torch.randperm(600).split(60):
        adam.zero_grad()
        nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
        adam.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
