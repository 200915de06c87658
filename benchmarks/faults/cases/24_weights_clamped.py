import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
bound = 0.01 if sys.argv[1] == "broken" else 1.0
critic = nn.Sequential(
    nn.Linear(2, 64),
    nn.LeakyReLU(0.2),
    nn.Linear(64, 64),
    nn.LeakyReLU(0.2),
    nn.Linear(64, 64),
    nn.LeakyReLU(0.2),
    nn.Linear(64, 1),
)
angle = torch.rand(800, 1) * 6.283
radius = torch.where(torch.arange(800)[:, None] < 400, 1.0, 2.0)
x = radius * torch.cat([angle.cos(), angle.sin()], 1)
y = (radius > 1.5).float()
opt = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
for epoch in range(20):
    for rows in torch.randperm(800).split(50):
        opt.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(critic(x[rows]), y[rows]).backward()
        opt.step()
        with torch.no_grad():
            for p in critic.parameters():
                p.clamp_(-bound, bound)
bce = nn.functional.binary_cross_entropy_with_logits(critic(x), y).item() / 0.6931
print(f"metric normalised_bce {bce:.4f} baseline 1.0000")
