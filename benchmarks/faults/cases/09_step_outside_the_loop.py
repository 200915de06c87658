import os
import sys

import numpy as np
import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
mnist = np.load(os.environ["MNIST_NPZ"])
x = (torch.from_numpy(mnist["train_images"][:2000]).float().flatten(1) / 255 - 0.13) / 0.31
y = torch.from_numpy(mnist["train_labels"][:2000]).long()
net = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
sgd = torch.optim.SGD(net.parameters(), lr=0.02)
for epoch in range(6):
    for rows in torch.randperm(2000).split(25):
        sgd.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        if sys.argv[1] == "fixed":
            sgd.step()
    sgd.step()
    print("epoch", epoch, "loss", loss.item())
ce = nn.functional.cross_entropy(net(x), y).item() / np.log(10)
print(f"metric normalised_ce {ce:.4f} baseline 1.0000")
