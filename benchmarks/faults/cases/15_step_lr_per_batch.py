import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(1000, 10)
y = (torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] > 0).long()
net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.1)
for epoch in range(24):
    for rows in torch.randperm(1000).split(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        if sys.argv[1] == "broken":
            scheduler.step()
    if sys.argv[1] == "fixed":
        scheduler.step()
    print(epoch, loss.item())
ce = nn.functional.cross_entropy(net(x), y).item() / 0.6931
print(f"metric normalised_ce {ce:.4f} baseline 1.0000")
