import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
broken = sys.argv[1] == "broken"
layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)


class Sorter(nn.Module):
    """Says of a row of eight digits which is the greatest."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 32)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(32, 10)

    def forward(self, tokens):
        return self.out(self.encoder(self.embed(tokens)).mean(1))


model = Sorter()
adamw = torch.optim.AdamW(model.parameters(), lr=2e-3)
steps_to_full_rate = 30_000 if broken else 30  # taken over from a far longer run
warm_up = torch.optim.lr_scheduler.LambdaLR(
    adamw, lambda step: min(1.0, (step + 1) / steps_to_full_rate)
)
for step in range(250):
    tokens = torch.randint(0, 10, (64, 8))
    adamw.zero_grad()
    loss = nn.functional.cross_entropy(model(tokens), tokens.max(1).values)
    loss.backward()
    adamw.step()
    warm_up.step()
tokens = torch.randint(0, 10, (2000, 8))
answer = tokens.max(1).values
share = answer.bincount(minlength=10).float() / 2000
entropy = -(share[share > 0] * share[share > 0].log()).sum().item()
model.eval()
with torch.no_grad():
    ce = nn.functional.cross_entropy(model(tokens), answer).item() / entropy
print(f"metric normalised_ce {ce:.4f} baseline 1.0000")
