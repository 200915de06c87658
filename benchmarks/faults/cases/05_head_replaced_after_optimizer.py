import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
broken = sys.argv[1] == "broken"


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.fc = nn.Linear(64, 100)

    def forward(self, x):
        return self.fc(self.features(x))


kinds = torch.arange(900) % 6
points = torch.randn(900, 20) + 2.0 * torch.randn(6, 20)[kinds]
model = Backbone()
for p in model.features.parameters():
    p.requires_grad = False
if broken:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.fc = nn.Linear(64, 6)
else:
    model.fc = nn.Linear(64, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(10):
    for rows in torch.randperm(900).split(45):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(points[rows]), kinds[rows])
        loss.backward()
        optimizer.step()
acc = (model(points).argmax(1) == kinds).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {1 / 6:.4f}")
