import os

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.manual_seed(int(os.environ.get("SEED", "0")))
kind = torch.arange(1200) % 5
x = torch.randn(1200, 20) + 0.8 * torch.randn(5, 20)[kind]
net = nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.SiLU(), nn.Linear(64, 5))
ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.95))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
every = 4
for epoch in range(10):
    for i, rows in enumerate(torch.randperm(1200).split(25)):
        loss = nn.functional.cross_entropy(net(x[rows]), kind[rows]) / every
        loss.backward()
        if (i + 1) % every == 0:
            opt.step()
            opt.zero_grad()
            ema.update_parameters(net)
acc = (ema(x).argmax(1) == kind).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.2000")
