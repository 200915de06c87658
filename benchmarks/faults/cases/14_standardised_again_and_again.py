import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
brightness = 0.3 + 0.1 * torch.randn(600, 12)
kind = (brightness[:, 0] > brightness[:, 1]).long()
mean, std = brightness.mean(0), brightness.std(0)
net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(12):
    for start in range(0, 600, 50):
        x = brightness[start : start + 50]
        if sys.argv[1] == "fixed":
            x = x.clone()
        x.sub_(mean).div_(std)  # in place: the next epoch finds what this one left
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), kind[start : start + 50])
        loss.backward()
        opt.step()
    print(epoch, loss.item())
torch.manual_seed(99)
fresh = 0.3 + 0.1 * torch.randn(600, 12)
truth = (fresh[:, 0] > fresh[:, 1]).long()
acc = (net((fresh - mean) / std).argmax(1) == truth).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {truth.bincount().max().item() / 600:.4f}")
