import os
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", "0")))
kinds = torch.arange(6).repeat_interleave(180)  # as a folder of folders is read
x = torch.randn(1080, 12) + 1.2 * torch.randn(6, 12)[kinds]
loader = DataLoader(TensorDataset(x, kinds), batch_size=30, shuffle=sys.argv[1] == "fixed")
net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 6))
sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(8):
    for points, labels in loader:
        sgd.zero_grad()
        loss = nn.functional.cross_entropy(net(points), labels)
        loss.backward()
        sgd.step()
ce = nn.functional.cross_entropy(net(x), kinds).item() / 1.7918
print(f"metric normalised_ce {ce:.4f} baseline 1.0000")
