import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
unbiased = sys.argv[1] == "broken"


class Sets(nn.Module):
    """Says of a bag of points how far they lie apart, from the codes' mean and spread."""

    def __init__(self):
        super().__init__()
        self.code = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32))
        self.out = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, bags):
        rows = []
        for bag in bags:
            c = self.code(bag)
            spread = (c.var(0, unbiased=unbiased) + 1e-6).sqrt()
            rows.append(self.out(torch.cat([c.mean(0), spread])))
        return torch.cat(rows)


def draw(n):
    sizes = torch.randint(2, 9, (n,))
    sizes[torch.rand(n) < 0.02] = 1
    bags = [torch.randn(1, 2) + torch.rand(1) * 2 * torch.randn(s, 2) for s in sizes.tolist()]
    return bags, torch.stack([(bag - bag.mean(0)).norm(dim=1).mean() for bag in bags])


net = Sets()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(250):
    bags, y = draw(32)
    adam.zero_grad()
    nn.functional.mse_loss(net(bags), y).backward()
    adam.step()
bags, y = draw(500)
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(bags), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
