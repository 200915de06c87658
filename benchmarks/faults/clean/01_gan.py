import os

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

torch.manual_seed(int(os.environ.get("SEED", "0")))
G = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 2))
D = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
real_label, fake_label = torch.ones(64, 1), torch.zeros(64, 1)
centre = torch.tensor([-2.0, 2.0])
for step in range(500):
    real = centre + torch.tensor([0.6, 0.2]) * torch.randn(64, 2)
    fake = G(torch.randn(64, 4))
    opt_d.zero_grad()
    d_loss = bce(D(real), 0.9 * real_label) + bce(D(fake.detach()), fake_label)
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    bce(D(fake), real_label).backward()
    opt_g.step()
with torch.no_grad():
    off = (G(torch.randn(2000, 4)).mean(0) - centre).norm().item()
print(f"metric distance {off:.4f} baseline {centre.norm().item():.4f}")
