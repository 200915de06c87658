import os

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
words, topics = 200, 10


class SkipGram(nn.Module):
    def __init__(self):
        super().__init__()
        self.centre = nn.Embedding(words, 16, sparse=True)
        self.context = nn.Embedding(words, 16, sparse=True)
        nn.init.uniform_(self.centre.weight, -0.5 / 16, 0.5 / 16)
        nn.init.zeros_(self.context.weight)

    def forward(self, word, near, others):
        v = self.centre(word)
        good = (v * self.context(near)).sum(1)
        bad = torch.einsum("nd,nkd->nk", v, self.context(others))
        return -(F.logsigmoid(good).mean() + F.logsigmoid(-bad).sum(1).mean())


net = SkipGram()
opt = torch.optim.SparseAdam(list(net.parameters()), lr=1e-2)
for step in range(500):
    word = torch.randint(0, words, (256,))
    near = torch.randint(0, words // topics, (256,)) * topics + word % topics
    opt.zero_grad()
    loss = net(word, near, torch.randint(0, words, (256, 5)))
    loss.backward()
    opt.step()
v = F.normalize(net.centre.weight.detach(), dim=1)
near = (v @ v.t()).fill_diagonal_(-2).argmax(1)
acc = (near % topics == torch.arange(words) % topics).float().mean().item()
print(f"metric accuracy {acc:.4f} baseline {1 / topics:.4f}")
