import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
kind = torch.arange(600) % 5
x = torch.randn(600, 20) + 1.5 * torch.randn(5, 20)[kind]


class Prototypes(nn.Module):
    """Scores are cosines to a prototype of each class, over a small temperature."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))
        self.centres = nn.Parameter(torch.randn(5, 16))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1) @ F.normalize(self.centres, dim=1).t() / 0.008


net = Prototypes()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(12):
    for rows in torch.randperm(600).split(40):
        scores = net(x[rows])
        if sys.argv[1] == "broken":
            log_p = torch.log(torch.softmax(scores, 1))
        else:
            log_p = torch.log_softmax(scores, 1)
        loss = -(F.one_hot(kind[rows], 5) * log_p).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
acc = (net(x).argmax(1) == kind).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.2000")
