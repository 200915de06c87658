import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
rounds = 30 if sys.argv[1] == "broken" else 2
nodes = 240
group = torch.arange(nodes) % 4
chance = torch.where(group[:, None] == group[None, :], 0.3, 0.08)
linked = (torch.rand(nodes, nodes) < chance).float().triu(1)
mean = linked + linked.t() + torch.eye(nodes)
mean = mean / mean.sum(1, keepdim=True)
features = torch.randn(nodes, 24) + torch.randn(4, 24)[group]


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(24, 24)
        self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(rounds))
        self.out = nn.Linear(24, 4)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x):
        x = torch.relu(self.enter(x))
        for layer in self.layers:
            x = torch.relu(layer(mean @ x))
        return self.out(x)


net = Smooth()
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(150):
    adam.zero_grad()
    nn.functional.cross_entropy(net(features), group).backward()
    adam.step()
acc = (net(features).argmax(1) == group).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.2500")
