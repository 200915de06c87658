import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
gesture = torch.randint(0, 3, (900,))
time = torch.arange(20.0)
waves = torch.sin(time[:, None, None] * (0.2 + 0.25 * gesture[None, :, None]))
signal = waves * torch.randn(1, 900, 4) + 0.3 * torch.randn(20, 900, 4)  # time, example, sensor


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 32, batch_first=True)
        self.out = nn.Linear(32, 3)

    def forward(self, signal):
        steps, batch, sensors = signal.shape
        if sys.argv[1] == "broken":
            x = signal.reshape(batch, steps, sensors)
        else:
            x = signal.transpose(0, 1)
        return self.out(self.lstm(x)[0][:, -1])


net = Classifier()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(12):
    for rows in torch.randperm(900).split(45):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(signal[:, rows]), gesture[rows])
        loss.backward()
        opt.step()
acc = (net(signal).argmax(1) == gesture).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {gesture.bincount().max().item() / 900:.4f}")
