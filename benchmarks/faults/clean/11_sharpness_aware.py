import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(800, 8)
y = (x[:, 0] * x[:, 1] > 0).long()
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(15):
    for rows in torch.randperm(800).split(40):
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
            away = [0.02 * p.grad / (norm + 1e-12) for p in net.parameters()]
            for p, e in zip(net.parameters(), away, strict=True):
                p.add_(e)
        opt.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        with torch.no_grad():
            for p, e in zip(net.parameters(), away, strict=True):
                p.sub_(e)
        opt.step()
        opt.zero_grad()
acc = (net(x).argmax(1) == y).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {y.bincount().max().item() / 800:.4f}")
