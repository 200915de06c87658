import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
length = 64
step = 1.0 if sys.argv[1] == "broken" else 1.0 / length


class Counter(nn.Module):
    """Which of four letters comes most often in the second half."""

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(4, 16)
        nn.init.normal_(self.token.weight, std=0.3)
        self.each = nn.Sequential(nn.Linear(16, 48), nn.Tanh(), nn.Linear(48, 16), nn.Tanh())
        self.out = nn.Linear(16, 4)

    def forward(self, tokens):
        x = self.token(tokens) + step * torch.arange(length)[:, None]
        return self.out(self.each(x).mean(1))


def draw(n):
    tokens = torch.randint(0, 4, (n, length))
    often = torch.randint(0, 4, (n,))
    change = torch.rand(n, length) < 0.4
    change[:, : length // 2] = False
    return torch.where(change, often[:, None], tokens), often


net = Counter()
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for i in range(250):
    x, y = draw(64)
    adam.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    adam.step()
x, y = draw(1000)
acc = (net(x).argmax(1) == y).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.2500")
