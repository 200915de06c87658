import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
limit = 1.0 if sys.argv[1] == "broken" else 1 - 1e-4
x = torch.randn(800, 6)
true = F.normalize(x[:, :2] + 0.5 * x[:, 2:4].abs(), dim=1)
net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def angles(said, true):
    """The angle between two directions."""
    cosine = (F.normalize(said, dim=1) * true).sum(1)
    return torch.arccos(cosine.clamp(-limit, limit))


adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(20):
    for rows in torch.randperm(800).split(40):
        adam.zero_grad()
        angles(net(x[rows]), true[rows]).mean().backward()
        adam.step()
with torch.no_grad():
    value = angles(net(x), true).mean().item()
    base = angles(true.mean(0, keepdim=True).expand(800, 2), true).mean().item()
print(f"metric angle {value:.4f} baseline {base:.4f}")
