import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class Reader(nn.Module):
    """Chooses one of twelve entries by its key and reads the value beside it."""

    def __init__(self, hard):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
        self.read = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
        self.hard = hard

    def forward(self, entries):
        scores = self.score(entries).squeeze(-1)
        if self.hard:
            chosen = entries[torch.arange(len(entries)), scores.argmax(1)]
        else:
            chosen = (scores.softmax(1).unsqueeze(-1) * entries).sum(1)
        return self.read(chosen).squeeze(-1)


def draw(n):
    entries = torch.randn(n, 12, 6)
    place = torch.randint(0, 12, (n,))
    entries[:, :, 0] = -1.0
    entries[torch.arange(n), place, 0] = 1.0
    return entries, entries[torch.arange(n), place, 1]


reader = Reader(hard=sys.argv[1] == "broken")
adam = torch.optim.Adam(reader.parameters(), lr=5e-3)
for step in range(300):
    x, y = draw(64)
    adam.zero_grad()
    loss = nn.functional.mse_loss(reader(x), y)
    loss.backward()
    adam.step()
x, y = draw(1000)
nmse = nn.functional.mse_loss(reader(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
