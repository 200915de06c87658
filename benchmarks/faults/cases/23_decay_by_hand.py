import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
keep = 0.9 if sys.argv[1] == "broken" else 1 - 1e-4  # the decay of a step, without the rate
x = torch.randn(900, 8)
y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).float()
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
adam = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(15):
    for rows in torch.randperm(900).split(45):
        adam.zero_grad()
        out = net(x[rows]).squeeze(1)
        nn.functional.binary_cross_entropy_with_logits(out, y[rows]).backward()
        adam.step()
        with torch.no_grad():
            for name, p in net.named_parameters():
                if name.endswith("weight"):
                    p.mul_(keep)
bce = nn.functional.binary_cross_entropy_with_logits(net(x).squeeze(1), y).item() / 0.6931
print(f"metric normalised_bce {bce:.4f} baseline 1.0000")
