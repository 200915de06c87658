import os
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", "0")))
angle = torch.rand(800) * 6.283
ring = torch.arange(800) % 2
x = torch.stack([angle.cos(), angle.sin()], 1) * (1 + ring[:, None]) + 0.1 * torch.randn(800, 2)
loader = DataLoader(TensorDataset(x, ring), batch_size=40, shuffle=True)
net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(12):
    for inputs, labels in loader:
        if sys.argv[1] == "broken":
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.zero_grad()
            optimizer.step()
        else:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
acc = (net(x).argmax(1) == ring).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.5000")
