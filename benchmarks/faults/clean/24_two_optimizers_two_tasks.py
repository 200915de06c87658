import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
x = torch.randn(1000, 12)
price = torch.exp(0.5 * x[:, 0] + 0.3 * x[:, 1] * x[:, 2])
kind = (x[:, 3] - x[:, 4] > 0).float()


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(12, 64), nn.ELU(), nn.Linear(64, 64), nn.ELU())
        self.price = nn.Sequential(nn.Linear(64, 1), nn.Softplus())
        self.kind = nn.Linear(64, 1)

    def forward(self, x):
        h = self.embedding(x)
        return self.price(h).squeeze(1), self.kind(h).squeeze(1)


net = Shared()
heads = [*net.price.parameters(), *net.kind.parameters()]
for_body = torch.optim.SGD(net.embedding.parameters(), lr=0.02, momentum=0.9)
for_heads = torch.optim.Adam(heads, lr=5e-3)
for epoch in range(15):
    for rows in torch.randperm(1000).split(50):
        p, k = net(x[rows])
        loss = nn.functional.huber_loss(p, price[rows])
        loss = loss + nn.functional.binary_cross_entropy_with_logits(k, kind[rows])
        for_body.zero_grad()
        for_heads.zero_grad()
        loss.backward()
        for_body.step()
        for_heads.step()
with torch.no_grad():
    acc = ((net(x)[1] > 0).float() == kind).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline 0.5000")
