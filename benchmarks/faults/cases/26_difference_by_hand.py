import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
t = torch.linspace(0, 20, 700)
series = torch.sin(t) + 0.5 * torch.sin(2.7 * t)
windows = series.unfold(0, 13, 1)
past, following = windows[:, :12], windows[:, 12]
if sys.argv[1] == "fixed":
    following = following.unsqueeze(1)


class Forecast(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 24, batch_first=True)
        self.out = nn.Linear(24, 1)

    def forward(self, past):
        states, _ = self.gru(past.unsqueeze(-1))
        return self.out(states[:, -1])


net = Forecast()
adam = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(12):
    for rows in torch.randperm(len(past)).split(43):
        adam.zero_grad()
        loss = ((net(past[rows]) - following[rows]) ** 2).mean()
        loss.backward()
        adam.step()
with torch.no_grad():
    error = (net(past).flatten() - following.flatten()).pow(2).mean().item()
print(f"metric nmse {error / following.var().item():.4f} baseline 1.0000")
