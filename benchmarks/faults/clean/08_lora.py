import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class LoRA(nn.Module):
    def __init__(self, linear, rank=4):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + x @ self.a.t() @ self.b.t()


x = torch.randn(1000, 16)
pre = (x[:, 0] * x[:, 1] > 0).long()
task = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()
net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def train(labels, epochs, lr):
    params = [p for p in net.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=lr)
    for _ in range(epochs):
        for rows in torch.randperm(1000).split(50):
            opt.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), labels[rows]).backward()
            opt.step()


train(pre, 8, 3e-3)
for i in (0, 2, 4):
    net[i] = LoRA(net[i])
train(task, 10, 5e-3)
acc = (net(x).argmax(1) == task).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {task.bincount().max().item() / 1000:.4f}")
