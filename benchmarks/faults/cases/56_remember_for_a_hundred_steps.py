import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class Memory(nn.Module):
    """The first of a hundred numbers says the class."""

    def __init__(self):
        super().__init__()
        fixed = sys.argv[1] == "fixed"
        self.rnn = nn.RNN(2, 32, nonlinearity="relu" if fixed else "tanh", batch_first=True)
        self.out = nn.Linear(32, 2)
        if fixed:
            nn.init.eye_(self.rnn.weight_hh_l0)
            nn.init.zeros_(self.rnn.bias_hh_l0)
            nn.init.zeros_(self.rnn.bias_ih_l0)
            nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def draw(n):
    x = 0.1 * torch.randn(n, 100, 2)
    kind = torch.randint(0, 2, (n,))
    x[:, 0, 1] = 2.0 * kind - 1
    return x, kind


net = Memory()
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(150):
    x, y = draw(32)
    adam.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    adam.step()
x, y = draw(500)
acc = (net(x).argmax(1) == y).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.5000")
