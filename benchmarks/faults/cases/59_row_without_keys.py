import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
length = 10
kept = torch.tril(torch.ones(length, length), diagonal=-1 if sys.argv[1] == "broken" else 0) == 1


class Next(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Embedding(6, 32), nn.Embedding(length, 32)
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 6)

    def forward(self, tokens):
        x = self.token(tokens) + self.place(torch.arange(length))
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.transpose(1, 2) / 32**0.5
        weights = scores.masked_fill(~kept, float("-inf")).softmax(-1)
        return self.out(x + weights @ v)


def draw(n):
    start, stride = torch.randint(0, 6, (n, 1)), torch.randint(1, 3, (n, 1))
    return (start + stride * torch.arange(length + 1)) % 6


net = Next()
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(300):
    row = draw(64)
    adam.zero_grad()
    loss = nn.functional.cross_entropy(net(row[:, :-1]).transpose(1, 2), row[:, 1:])
    loss.backward()
    adam.step()
row = draw(500)
acc = (net(row[:, :-1]).argmax(-1) == row[:, 1:])[:, 1:].float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {1 / 6:.4f}")
