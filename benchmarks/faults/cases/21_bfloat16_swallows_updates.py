import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
dtype = torch.bfloat16 if sys.argv[1] == "broken" else torch.float32
x = torch.randn(1000, 4)
y = torch.tanh(x @ torch.tensor([[1.0], [-1.0], [0.5], [0.0]])) * 2 + 1
net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)).to(dtype)
for p in net.parameters():
    nn.init.uniform_(p, -0.8, 0.8)
adam = torch.optim.Adam(net.parameters(), lr=5e-4)
for epoch in range(60):
    for rows in torch.randperm(1000).split(50):
        adam.zero_grad()
        loss = nn.functional.mse_loss(net(x[rows].to(dtype)).float(), y[rows])
        loss.backward()
        adam.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(net(x.to(dtype)).float(), y).item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
