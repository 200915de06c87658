import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
generator = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 2))
critic = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
for_g = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.0, 0.9))
for_c = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))


def real(n):
    angle = torch.rand(n, 1) * 6.283
    return torch.cat([2 + angle.cos(), -1 + angle.sin()], 1)


def penalty(a, b):
    mix = torch.rand(len(a), 1)
    between = (mix * a + (1 - mix) * b).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.norm(dim=1) - 1).pow(2).mean()


for step in range(200):
    for _ in range(3):
        x, fake = real(64), generator(torch.randn(64, 3)).detach()
        for_c.zero_grad()
        loss = critic(fake).mean() - critic(x).mean() + 10 * penalty(x, fake)
        loss.backward()
        for_c.step()
    for_g.zero_grad()
    (-critic(generator(torch.randn(64, 3))).mean()).backward()
    for_g.step()
with torch.no_grad():
    off = (generator(torch.randn(2000, 3)).mean(0) - torch.tensor([2.0, -1.0])).norm().item()
print(f"metric distance {off:.4f} baseline {5**0.5:.4f}")
