import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
fraud = (torch.rand(4000) < 1 / 80).long()
x = torch.randn(4000, 8)
x[:, 0] += 1.4 * fraud
x[:, 1] -= 1.4 * fraud
weight = None if sys.argv[1] == "broken" else torch.tensor([1.0, 79.0])
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
for epoch in range(4):
    for rows in torch.randperm(4000).split(64):
        sgd.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), fraud[rows], weight=weight)
        loss.backward()
        sgd.step()
said = model(x).argmax(1)
found = (said[fraud == 1] == 1).float().mean().item()
right = (said[fraud == 0] == 0).float().mean().item()
print(f"metric balanced_accuracy {(found + right) / 2:.4f} baseline 0.5000")
