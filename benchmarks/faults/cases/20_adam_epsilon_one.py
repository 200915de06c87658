import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
epsilon = 1.0 if sys.argv[1] == "broken" else 1e-8
words = torch.randint(0, 200, (1500, 12))
mood = torch.randn(200)
liked = (mood[words].sum(1) > 0).float()


class BagOfWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.EmbeddingBag(200, 16, mode="mean")
        self.out = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, words):
        return self.out(self.embed(words)).squeeze(1)


net = BagOfWords()
adam = torch.optim.Adam(net.parameters(), lr=1e-2, eps=epsilon)
for epoch in range(10):
    for rows in torch.randperm(1500).split(50):
        adam.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(words[rows]), liked[rows])
        loss.backward()
        adam.step()
bce = nn.functional.binary_cross_entropy_with_logits(net(words), liked).item() / 0.6931
print(f"metric normalised_bce {bce:.4f} baseline 1.0000")
