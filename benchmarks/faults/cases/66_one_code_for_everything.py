import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
centres = 2 * torch.randn(12, 10)


def draw(n):
    return centres[torch.randint(0, 12, (n,))] + 0.2 * torch.randn(n, 10)


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
        self.decode = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 10))
        self.codes = nn.Embedding(32, 4)
        with torch.no_grad():
            if sys.argv[1] == "broken":
                self.codes.weight.mul_(20)  # of all codes only the one nearest to 0 is ever near
            else:
                self.codes.weight.copy_(self.encode(draw(32)))

    def forward(self, x):
        z = self.encode(x)
        q = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commit = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return self.decode(z + (q - z).detach()), commit


net = Quantised()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(400):
    x = draw(64)
    out, commit = net(x)
    adam.zero_grad()
    (F.mse_loss(out, x) + commit).backward()
    adam.step()
x = draw(1000)
nmse = F.mse_loss(net(x)[0], x).item() / x.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
