import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(500, 8)
y = (x[:, :4].prod(1) > 0).long()


def build():
    net = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2))
    return net, torch.optim.Adam(net.parameters(), lr=3e-3)


net, optimizer = build()
for epoch in range(40):
    if sys.argv[1] == "broken":
        net, optimizer = build()
    for rows in torch.randperm(500).split(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
ce = nn.functional.cross_entropy(net(x), y).item() / 0.6931
print(f"metric normalised_ce {ce:.4f} baseline 1.0000")
