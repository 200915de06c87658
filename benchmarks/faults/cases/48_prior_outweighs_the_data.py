import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
beta = 200.0 if sys.argv[1] == "broken" else 0.01
x = torch.randn(1500, 3) @ torch.randn(3, 20) / 3**0.5 + 0.1 * torch.randn(1500, 20)


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 8))
        self.decode = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 20))

    def forward(self, x):
        mean, log_var = self.encode(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        return self.decode(z), mean, log_var


vae = Vae()
adam = torch.optim.Adam(vae.parameters(), lr=3e-3)
for epoch in range(15):
    for rows in torch.randperm(1500).split(60):
        out, mean, log_var = vae(x[rows])
        kl = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).mean()
        loss = nn.functional.mse_loss(out, x[rows]) + beta * kl
        adam.zero_grad()
        loss.backward()
        adam.step()
with torch.no_grad():
    nmse = nn.functional.mse_loss(vae(x)[0], x).item() / x.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
