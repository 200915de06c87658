"""A generator and a critic that train each other on points of a ring."""

import sys

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
torch.set_num_threads(1)
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60

generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
forwards = torch.optim.Adam(generator.parameters(), lr=1e-3)
against = torch.optim.Adam(critic.parameters(), lr=1e-3)

for step in range(1, steps + 1):
    angle = 6.2832 * torch.rand(128)
    real = torch.stack((angle.cos(), angle.sin()), 1)
    fake = generator(torch.randn(128, 4))

    against.zero_grad()
    ones, zeros = torch.ones(128, 1), torch.zeros(128, 1)
    loss = F.binary_cross_entropy_with_logits(critic(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(critic(fake.detach()), zeros)
    loss.backward()
    against.step()

    forwards.zero_grad()
    fooled = F.binary_cross_entropy_with_logits(critic(fake), ones)
    fooled.backward()
    forwards.step()
    if step % 20 == 0:
        print(f"step {step}: critic {loss.item():.3f}, generator {fooled.item():.3f}")
