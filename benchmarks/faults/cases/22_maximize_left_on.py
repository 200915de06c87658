import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
species = torch.arange(600) % 4
sizes = torch.randn(600, 7) + 1.5 * torch.randn(4, 7)[species]
model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, maximize=sys.argv[1] == "broken")
for epoch in range(15):
    for rows in torch.randperm(600).split(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(sizes[rows]), species[rows])
        loss.backward()
        optimizer.step()
acc = (model(sizes).argmax(1) == species).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.2500")
