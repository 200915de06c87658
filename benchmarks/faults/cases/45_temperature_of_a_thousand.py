import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
temperature = 1000.0 if sys.argv[1] == "broken" else 0.1
mix = torch.randn(2, 6, 20) / 2


def views(n):
    hidden = torch.randn(n, 6)
    return [hidden @ m + 0.3 * torch.randn(n, 20) for m in mix]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 12))
        self.right = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 12))

    def forward(self, a, b):
        return F.normalize(self.left(a), dim=1) @ F.normalize(self.right(b), dim=1).t()


net = Two()
sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for step in range(300):
    similarity = net(*views(64))
    sgd.zero_grad()
    loss = F.cross_entropy(similarity / temperature, torch.arange(64))
    loss.backward()
    sgd.step()
with torch.no_grad():
    found = (net(*views(64)).argmax(1) == torch.arange(64)).float().mean().item()
print(f"metric accuracy {found:.4f} baseline {1 / 64:.4f}")
