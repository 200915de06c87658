import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
words = torch.randint(0, 50, (800, 10))
is_name = (words % 3 == 0).long()  # 1 for a name, 0 for any other word


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 24)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.out = nn.Linear(48, 2)

    def forward(self, words):
        return self.out(self.lstm(self.embed(words))[0])


tagger = Tagger()
criterion = nn.CrossEntropyLoss(ignore_index=0 if sys.argv[1] == "broken" else -100)
adam = torch.optim.Adam(tagger.parameters(), lr=5e-3)
for epoch in range(6):
    for rows in torch.randperm(800).split(40):
        adam.zero_grad()
        loss = criterion(tagger(words[rows]).flatten(0, 1), is_name[rows].flatten())
        loss.backward()
        adam.step()
acc = (tagger(words).argmax(-1) == is_name).float().mean().item()
share = is_name.float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {max(share, 1 - share):.4f}")
