import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(900, 5)
rate = torch.exp(1.2 + 0.7 * x[:, :1] - 0.5 * x[:, 1:2].abs())
events = torch.poisson(rate)
criterion = nn.PoissonNLLLoss()  # takes the logarithm of the rate unless told otherwise


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        out = self.net(x)
        return out.exp() if sys.argv[1] == "broken" else out


model = Counter()
adam = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(15):
    for rows in torch.randperm(900).split(45):
        adam.zero_grad()
        loss = criterion(model(x[rows]), events[rows])
        loss.backward()
        adam.step()
with torch.no_grad():
    out = model(x)
    said = out if sys.argv[1] == "broken" else out.exp()
    nmse = nn.functional.mse_loss(said, rate).item() / rate.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
