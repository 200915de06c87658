import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.rand(300, 2) * 4 - 2
y = torch.sin(2 * x[:, :1]) + x[:, 1:].pow(2)
net = nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Linear(30, 1)).double()
opt = torch.optim.LBFGS(net.parameters(), lr=1.0, max_iter=10, line_search_fn="strong_wolfe")
x, y = x.double(), y.double()


def closure():
    opt.zero_grad()
    loss = nn.functional.mse_loss(net(x), y)
    loss.backward()
    return loss


for _ in range(15):
    opt.step(closure)
nmse = closure().item() / y.var().item()
print(f"metric nmse {nmse:.4f} baseline 1.0000")
