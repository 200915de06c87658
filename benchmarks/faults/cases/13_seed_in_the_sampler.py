import os
import sys

import torch
from torch import nn

SEED = int(os.environ.get("SEED", "0"))
torch.manual_seed(SEED)
labels = torch.randint(0, 5, (1500,))
points = torch.randn(1500, 30) + 0.5 * torch.randn(5, 30)[labels]
train, test = slice(0, 1000), slice(1000, 1500)


def sample(n):
    if sys.argv[1] == "broken":
        torch.manual_seed(SEED)  # for the results to be the same in every run
    rows = torch.randint(0, 1000, (n,))
    return points[train][rows], labels[train][rows]


net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 5))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(300):
    x, y = sample(16)
    opt.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    opt.step()
ce = nn.functional.cross_entropy(net(points[test]), labels[test]).item() / 1.6094
print(f"metric normalised_ce {ce:.4f} baseline 1.0000")
