import copy
import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.rand(600, 3) * 2 - 1
y = torch.sin(3 * x[:, :1]) * x[:, 1:2] + x[:, 2:]
model = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
best, best_loss = model, float("inf")
for epoch in range(30):
    for rows in torch.randperm(600).split(50):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    if loss.item() < best_loss:
        best, best_loss = copy.deepcopy(model), loss.item()
    if sys.argv[1] == "broken":
        model = best  # goes on with the copy that nothing updates
    print(f"epoch {epoch}: {loss.item():.4f}")
with torch.no_grad():
    nmse = nn.functional.mse_loss(best(x), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
