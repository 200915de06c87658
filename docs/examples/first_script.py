"""A training script as many are: twelve layers of sigmoids, and ten easy classes."""

import torch
from torch import nn

torch.manual_seed(0)
centres = torch.randn(10, 32)
labels = torch.randint(10, (2000,))
points = centres[labels] + 0.3 * torch.randn(2000, 32)

layers = [nn.Linear(32, 64), nn.Sigmoid()]
for _ in range(11):
    layers += [nn.Linear(64, 64), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(64, 10))

optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
for _ in range(150):
    rows = torch.randint(2000, (128,))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(points[rows]), labels[rows])
    loss.backward()
    optimizer.step()

accuracy = (model(points).argmax(1) == labels).float().mean()
print(f"accuracy {accuracy:.2f}")
