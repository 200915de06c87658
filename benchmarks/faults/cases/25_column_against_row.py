import os
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", "0")))
house = torch.randn(900, 5)
price = house @ torch.tensor([2.0, -1.0, 0.5, 0.0, 1.0]) + torch.relu(house[:, 3])
loader = DataLoader(TensorDataset(house, price), batch_size=60, shuffle=True)
model = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(25):
    for x, y in loader:
        out = model(x)
        if sys.argv[1] == "fixed":
            out = out.squeeze(1)
        optimizer.zero_grad()
        nn.functional.smooth_l1_loss(out, y).backward()
        optimizer.step()
nmse = nn.functional.mse_loss(model(house)[:, 0], price).item() / price.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
