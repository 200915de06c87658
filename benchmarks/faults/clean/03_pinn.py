import math
import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
u = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
adam = torch.optim.Adam(u.parameters(), lr=5e-3)
ends = torch.tensor([[0.0], [1.0]])
for step in range(500):
    x = torch.rand(64, 1, requires_grad=True)
    value = u(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    residual = bend + math.pi**2 * torch.sin(math.pi * x)
    loss = residual.pow(2).mean() + 50 * u(ends).pow(2).mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
grid = torch.linspace(0, 1, 101)[:, None]
with torch.no_grad():
    error = (u(grid) - torch.sin(math.pi * grid)).abs().mean().item()
print(f"metric error {error:.4f} baseline {torch.sin(math.pi * grid).mean().item():.4f}")
