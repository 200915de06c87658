"""A small language model of any width, for `gradflow width`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Attention and two dense layers; heads have 16 units at every width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, width // 16, batch_first=True)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(examples, tokens, width), the same."""
        y = self.before(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.between(x))))


class Model(nn.Module):
    """Token numbers to logits of the next token."""

    def __init__(self, width: int, vocabulary: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, numbers: Tensor) -> Tensor:
        """(examples, tokens) to (examples, tokens, vocabulary)."""
        return self.head(self.norm(self.blocks(self.tokens(numbers))))


def build(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a model of this width and its optimizer."""
    model = Model(width)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)
