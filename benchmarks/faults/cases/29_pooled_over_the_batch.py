import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
axis = 0 if sys.argv[1] == "broken" else 1  # of (example, word, feature)


class Topic(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(300, 32)
        self.out = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, words):
        return self.out(self.embed(words).mean(axis))


def draw(n):
    topic = torch.randint(0, 3, (n,))
    own = torch.randint(0, 100, (n, 16)) * 3 + topic[:, None]
    return torch.where(torch.rand(n, 16) < 0.5, own, torch.randint(0, 300, (n, 16))), topic


net = Topic()
adam = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(400):
    words, topic = draw(16)
    adam.zero_grad()
    loss = nn.functional.cross_entropy(net(words), topic)
    loss.backward()
    adam.step()
right = 0
for _ in range(50):
    words, topic = draw(16)
    right += (net(words).argmax(1) == topic).sum().item()
print(f"metric accuracy {right / 800:.4f} baseline {1 / 3:.4f}")
