import os
import sys

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

torch.manual_seed(int(os.environ.get("SEED", "0")))
broken = sys.argv[1] == "broken"
G = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
centre = torch.tensor([2.0, -1.5])
for step in range(400):
    real = centre + 0.5 * torch.randn(64, 2)
    fake = G(torch.randn(64, 4))
    if broken:  # meant for the discriminator's step alone
        fake = fake.detach()
    opt_d.zero_grad()
    (bce(D(real), ones) + bce(D(fake.detach()), zeros)).backward()
    opt_d.step()
    opt_g.zero_grad()
    bce(D(fake), ones).backward()
    opt_g.step()
with torch.no_grad():
    off = (G(torch.randn(2000, 4)).mean(0) - centre).norm().item()
print(f"metric distance {off:.4f} baseline {centre.norm().item():.4f}")
