import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
teacher = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 4))
student = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 4))
x = torch.randn(1200, 10)
with torch.no_grad():
    wanted = F.softmax(10 * teacher(x), dim=1)
adam = torch.optim.Adam(student.parameters(), lr=5e-3)
for epoch in range(20):
    for rows in torch.randperm(1200).split(60):
        scores = student(x[rows])
        said = F.softmax(scores, 1) if sys.argv[1] == "broken" else F.log_softmax(scores, 1)
        adam.zero_grad()
        loss = F.kl_div(said, wanted[rows], reduction="batchmean")
        loss.backward()
        adam.step()
with torch.no_grad():
    kl = F.kl_div(F.log_softmax(student(x), 1), wanted, reduction="batchmean").item()
    base = F.kl_div(wanted.mean(0).log().expand(1200, 4), wanted, reduction="batchmean").item()
print(f"metric kl {kl:.4f} baseline {base:.4f}")
