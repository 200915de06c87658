import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
classes = 5
base = torch.randint(0, 2, (600, 3, 24)).float()


def label(bits):
    """Counts ones in a window of five places."""
    padded = nn.functional.pad(bits[:, 0], (2, 2))
    return padded.unfold(1, 5, 1).sum(-1).clamp(max=4).long()


target = label(base)
net = nn.Sequential(
    nn.Conv1d(3, 32, 5, padding=2),
    nn.ReLU(),
    nn.Conv1d(32, 32, 3, padding=1),
    nn.ReLU(),
    nn.Conv1d(32, classes, 1),
)
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(12):
    for rows in torch.randperm(600).split(30):
        scores = net(base[rows])  # example, class, place
        if sys.argv[1] == "broken":
            flat = scores.view(-1, classes)
        else:
            flat = scores.transpose(1, 2).reshape(-1, classes)
        adam.zero_grad()
        loss = nn.functional.cross_entropy(flat, target[rows].view(-1))
        loss.backward()
        adam.step()
acc = (net(base).argmax(1) == target).float().mean().item()
base_share = target.flatten().bincount().max().item() / target.numel()
print(f"metric accuracy {acc:.4f} baseline {base_share:.4f}")
