import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
width = 64
scale = width**0.5 if sys.argv[1] == "broken" else width**-0.5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        weights = (scale * q @ k.transpose(1, 2)).softmax(-1)
        return x + self.out(weights @ v)


class Recall(nn.Module):
    """Says which value followed the asked key."""

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(20, width)
        self.place = nn.Parameter(0.5 * torch.randn(9, width))
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(width, 20)

    def forward(self, tokens):
        return self.head(self.blocks(self.token(tokens) + self.place)[:, -1])


def draw(n):
    keys = torch.rand(n, 8).argsort(1)
    asked = torch.randint(0, 8, (n, 1))
    return torch.cat([keys + 8, asked * 0 + 16 + asked % 4], 1), keys.gather(1, asked % 4) + 8


net = Recall()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(250):
    tokens, answer = draw(64)
    adam.zero_grad()
    loss = nn.functional.cross_entropy(net(tokens), answer[:, 0])
    loss.backward()
    adam.step()
tokens, answer = draw(1000)
acc = (net(tokens).argmax(1) == answer[:, 0]).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.1250")
