import os
import sys

import numpy as np
import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
mnist = np.load(os.environ["MNIST_NPZ"])
x = torch.from_numpy(mnist["train_images"][:1200]).float()[:, None] / 255
y = torch.from_numpy(mnist["train_labels"][:1200]).long()


def block(n_in, n_out):
    norm = nn.BatchNorm2d(n_out)
    if sys.argv[1] == "broken":
        nn.init.zeros_(norm.weight)  # right for the last norm of a residual branch
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), norm, nn.ReLU())


net = nn.Sequential(block(1, 8), block(8, 16), block(16, 32), nn.Flatten(), nn.Linear(512, 10))
sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(5):
    for rows in torch.randperm(1200).split(40):
        sgd.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        sgd.step()
net.eval()
with torch.no_grad():
    acc = (net(x).argmax(1) == y).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {y.bincount().max().item() / 1200:.4f}")
