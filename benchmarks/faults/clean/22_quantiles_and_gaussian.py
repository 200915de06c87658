import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.rand(1500, 2) * 4 - 2
mean, spread = torch.sin(2 * x[:, 0]), 0.1 + 0.2 * x[:, 1].abs()
y = mean + spread * torch.randn(1500)
level = torch.tensor([0.1, 0.5, 0.9])


class Distribution(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.normal, self.quantile = nn.Linear(64, 2), nn.Linear(64, 3)

    def forward(self, x):
        h = self.body(x)
        middle, log_var = self.normal(h).unbind(1)
        return middle, log_var.exp(), self.quantile(h)


def pinball(said, y):
    rest = y[:, None] - said
    return torch.maximum(level * rest, (level - 1) * rest).mean()


net = Distribution()
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(12):
    for rows in torch.randperm(1500).split(60):
        middle, variance, said = net(x[rows])
        loss = nn.functional.gaussian_nll_loss(middle, y[rows], variance) + pinball(said, y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
with torch.no_grad():
    nmse = (net(x)[0] - mean).pow(2).mean().item() / mean.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
