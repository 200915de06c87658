"""Small networks of all kinds, each with its inputs, targets and loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Case = tuple[nn.Module, Any, Tensor, Callable[..., Tensor] | None]


class Functional(nn.Module):
    """Calls its activation, and the softmax behind its output, as functions."""

    def __init__(self, act: Callable[[Tensor], Tensor], ends: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.act, self.ends = act, ends

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(self.act(self.second(self.act(self.first(x)))))
        return out.softmax(1) if self.ends else out


class Last(nn.Module):
    def __init__(self, cell: nn.Module, width: int = 6) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Stepwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 6)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.mix, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.embed(x))
        return self.head((x + self.mix(x, x, x)[0]).mean(1))


class Named(nn.Module):
    """Blocks in a dictionary and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name = nn.ModuleDict({"a-1": nn.Linear(6, 8), "b": nn.Linear(8, 8)})
        self.steps = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(5))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.by_name["b"](torch.relu(self.by_name["a-1"](x))))
        for step in self.steps:
            x = step(x)
        return self.head(x)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(16, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x).tanh(), self.right(y).tanh()], 1))


def dense(*parts: Any) -> nn.Sequential:
    """Linear layers for the sizes among `parts`, everything else as it is."""
    modules: list[nn.Module] = []
    size = parts[0]
    for part in parts[1:]:
        modules.append(nn.Linear(size, part) if isinstance(part, int) else part)
        size = part if isinstance(part, int) else size
    return nn.Sequential(*modules)


def _conv(dimension: int, **options: Any) -> nn.Sequential:
    kind, pool = getattr(nn, f"Conv{dimension}d"), getattr(nn, f"AdaptiveAvgPool{dimension}d")
    layers = [kind(2, 4, 3, padding=1), nn.ReLU(), kind(4, 4, 3, padding=1, **options), nn.ReLU()]
    return nn.Sequential(*layers, pool(1), nn.Flatten(), nn.Linear(4, 3))


def cases() -> dict[str, Case]:
    """Return them by name."""
    torch.manual_seed(1)
    x, y = torch.randn(12, 6), torch.randint(3, (12,))
    rows, real = torch.randn(12, 5, 4), torch.randn(12, 1)
    lone = torch.zeros(12, 2)
    made: dict[str, Case] = {
        f"dense {type(act).__name__}": (dense(6, 8, act, 8, act, 8, act, 3), x, y, None)
        for act in (nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.SELU(), nn.SiLU(), nn.LeakyReLU(0.3))
    }
    deep = [part for _ in range(6) for part in (8, nn.ReLU())]
    relus = [nn.ReLU(inplace=True) for _ in range(3)]
    made |= {
        "deep": (dense(6, *deep, 3), x, y, None),
        "in place": (dense(6, 8, relus[0], 8, relus[1], 8, relus[2], 3), x, y, None),
        "normed": (dense(6, 8, nn.BatchNorm1d(8), nn.ReLU(), 8, nn.ReLU(), 3), x, y, None),
        "without bias": (
            nn.Sequential(nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False)),
            x,
            y,
            None,
        ),
        "frozen": (dense(6, 8, nn.ReLU(), 8, nn.ReLU(), 3), x, y, None),
        "functions": (Functional(torch.sigmoid), x, y, None),
        "gelu": (Functional(F.gelu), x, y, None),
        "softmax twice": (Functional(torch.relu, ends=True), x, y, None),
        "softmax module": (dense(6, 8, nn.ReLU(), 3, nn.Softmax(1)), x, y, None),
        "relu behind": (dense(6, 8, nn.ReLU(), 3, nn.ReLU()), x, y, None),
        "raw scores": (dense(6, 8, nn.ReLU(), 3), x, y, nn.NLLLoss()),
        "raw for bce": (
            dense(6, 8, nn.ReLU(), 2),
            x,
            lone,
            lambda o, t: F.binary_cross_entropy(o.clamp(0, 1), t),
        ),
        "large inputs": (dense(6, 8, nn.Tanh(), 3), 1e4 + 300 * x, y, None),
        "large targets": (dense(6, 8, nn.Tanh(), 1), x, 1e3 * real + 500, F.mse_loss),
        "tokens": (Attending(), torch.randint(9, (12, 5)), y, None),
        "rows": (
            nn.Sequential(dense(4, 8, nn.GELU(), 8, nn.GELU(), 3)),
            rows,
            torch.randint(3, (12, 5)),
            lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
        ),
        "conv 1": (_conv(1), torch.randn(12, 2, 9), y, None),
        "conv 2": (_conv(2, groups=2), torch.randn(12, 2, 6, 6), y, None),
        "conv 3": (_conv(3), torch.randn(12, 2, 4, 4, 4), y, None),
        "transposed": (
            nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1)),
            torch.randn(12, 1, 6, 6),
            torch.randn(12, 1, 6, 6),
            F.mse_loss,
        ),
        "names": (Named(), x, y, None),
        "two inputs": (TwoInputs(), (x, x.flip(0)), y, None),
        "cell": (Stepwise(), rows, y, None),
    }
    cells = {
        "rnn": nn.RNN(4, 6, batch_first=True),
        "relu rnn": nn.RNN(4, 6, nonlinearity="relu", batch_first=True),
        "lstm": nn.LSTM(4, 6, 2, batch_first=True),
        "gru": nn.GRU(4, 6, batch_first=True),
    }
    made |= {name: (Last(cell), rows, y, None) for name, cell in cells.items()}
    with torch.no_grad():
        made["raw scores"][0][2].bias.add_(1.0)  # type: ignore[index,union-attr]
    made["frozen"][0][0].requires_grad_(False)  # type: ignore[index]
    return made
