import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
centres = torch.randn(10, 12)


def two_views(n):
    c = torch.randint(0, 10, (n,))
    return centres[c] + 0.5 * torch.randn(n, 12), centres[c] + 0.5 * torch.randn(n, 12), c


encoder = nn.Sequential(
    nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)
)
adam = torch.optim.Adam(encoder.parameters(), lr=3e-3)
for step in range(400):
    a, b, _ = two_views(64)
    za, zb = encoder(a), encoder(b)
    loss = F.mse_loss(za, zb)
    if sys.argv[1] == "fixed":  # keeps the spread of every coordinate, and makes them differ
        z = za - za.mean(0)
        cov = z.t() @ z / 63
        loss = loss + F.relu(1 - cov.diagonal().clamp(min=1e-6).sqrt()).mean()
        loss = loss + 0.05 * (cov - torch.diag(cov.diagonal())).pow(2).mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
with torch.no_grad():
    a, b, c = two_views(1000)
    za, zb = encoder(a), encoder(b)
    between = torch.stack([za[c == k].mean(0) for k in range(10)]).var(0).mean()
print(f"metric lost_spread {1 / (1 + 10 * between.item()):.4f} baseline 1.0000")
