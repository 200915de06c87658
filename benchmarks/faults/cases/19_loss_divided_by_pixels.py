import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
rows = torch.arange(24)
centre = torch.randint(5, 19, (400, 2))
distance = (rows[None, :, None] - centre[:, 0, None, None]) ** 2 + (
    rows[None, None, :] - centre[:, 1, None, None]
) ** 2
mask = (distance < 16).float().unsqueeze(1)
image = mask + 0.7 * torch.randn(400, 1, 24, 24)
net = nn.Sequential(
    nn.Conv2d(1, 8, 5, padding=2),
    nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 1, 1),
)
sgd = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
for epoch in range(8):
    for part in torch.randperm(400).split(20):
        sgd.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(image[part]), mask[part])
        if sys.argv[1] == "broken":
            loss = loss / mask[part].numel()  # the mean again
        loss.backward()
        sgd.step()
share = mask.mean()
base = nn.functional.binary_cross_entropy(torch.full_like(mask, share.item()), mask).item()
with torch.no_grad():
    bce = nn.functional.binary_cross_entropy_with_logits(net(image), mask).item()
print(f"metric bce {bce:.4f} baseline {base:.4f}")
