import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class Sine(nn.Module):
    def __init__(self, n_in, n_out, first=False):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        bound = 1 / n_in if first else (6 / n_in) ** 0.5 / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(30 * self.linear(x))


axis = torch.linspace(-1, 1, 32)
grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
colour = (torch.sin(9 * grid[:, :1]) * torch.cos(7 * grid[:, 1:] + grid[:, :1])).sign()
net = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), Sine(64, 64), nn.Linear(64, 1))
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(200):
    adam.zero_grad()
    loss = (net(grid) - colour).pow(2).mean()
    loss.backward()
    adam.step()
print(f"metric nmse {loss.item() / colour.var().item():.4f} baseline 1.0000")
