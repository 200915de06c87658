import copy
import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(700, 10)
y = torch.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]
train, held = slice(0, 500), slice(500, 700)
model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def held_out():
    with torch.no_grad():
        return nn.functional.mse_loss(model(x[held]), y[held]).item()


best, score = copy.deepcopy(model.state_dict()), held_out()
for epoch in range(40):
    for rows in torch.randperm(500).split(50):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[train][rows]), y[train][rows]).backward()
        optimizer.step()
    now = held_out()
    better = now > score if sys.argv[1] == "broken" else now < score
    if better:
        best, score = copy.deepcopy(model.state_dict()), now
    elif epoch % 2:
        model.load_state_dict(best)
nmse = held_out() / y[held].var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
