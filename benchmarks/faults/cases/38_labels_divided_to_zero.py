import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
grade = torch.randint(0, 5, (1000,))
answers = torch.randn(1000, 15) + 1.5 * torch.randn(5, 15)[grade]
target = grade
if sys.argv[1] == "broken":
    target = (grade.float() / 5).long()  # scaled like the inputs
model = nn.Sequential(nn.Linear(15, 64), nn.ReLU(), nn.Linear(64, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(10):
    for rows in torch.randperm(1000).split(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(answers[rows]), target[rows])
        loss.backward()
        optimizer.step()
acc = (model(answers).argmax(1) == grade).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {grade.bincount().max().item() / 1000:.4f}")
