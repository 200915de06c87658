import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class FirstSymbol(nn.Module):
    """Remembers the first of six symbols."""

    def __init__(self, batch_first):
        super().__init__()
        self.embed = nn.Embedding(5, 8)
        self.rnn = nn.GRU(8, 32, batch_first=batch_first)
        self.out = nn.Linear(32, 5)

    def forward(self, symbols):
        states, _ = self.rnn(self.embed(symbols))
        return self.out(states[:, -1])


net = FirstSymbol(batch_first=sys.argv[1] == "fixed")
adam = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(200):
    symbols = torch.randint(0, 5, (64, 6))
    adam.zero_grad()
    loss = nn.functional.cross_entropy(net(symbols), symbols[:, 0])
    loss.backward()
    adam.step()
symbols = torch.randint(0, 5, (640, 6))
acc = (net(symbols).argmax(1) == symbols[:, 0]).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.2000")
