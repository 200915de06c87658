import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


def block(n_in, n_out):
    return [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU()]


layers = [*block(16, 48)]
for _ in range(11):
    layers += block(48, 48)
net = nn.Sequential(*layers, nn.Linear(48, 4))
kinds = torch.arange(1200) % 4
means = torch.randn(4, 16)
x = torch.randn(1200, 16) + 1.5 * means[kinds]
train, test = slice(0, 800), slice(800, 1200)


def accuracy():
    net.eval()
    with torch.no_grad():
        return (net(x[test]).argmax(1) == kinds[test]).float().mean().item()


print("before training", accuracy())
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(6):
    if sys.argv[1] == "fixed":
        net.train()
    for rows in torch.randperm(800).split(40):
        opt.zero_grad()
        nn.functional.cross_entropy(net(x[train][rows]), kinds[train][rows]).backward()
        opt.step()
    print("epoch", epoch, accuracy())
print(f"metric accuracy {accuracy():.4f} baseline 0.2500")
