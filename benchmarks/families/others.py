"""Networks as somebody else would write them, of kinds that no threshold was chosen on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from families import tasks
from families.networks import (
    ACTS,
    CLASSES,
    FAMILIES,
    Drawn,
    Options,
    draw,
    made,
    norm1d,
)
from families.tasks import SIDE
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def vgg(o: Options) -> Drawn:
    """Three stages of plain convolutions, and two dense layers behind them."""
    act, depth = o.act(), o.depth(1, 6)
    layers: list[nn.Module] = []
    channels = 1
    for width in (8, 12, 16):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), act()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(16, 32), act(), nn.Linear(32, CLASSES)]
    return Drawn(nn.Sequential(*layers, *head), tasks.images())


def convolutional(o: Options) -> Drawn:
    """A convolutional autoencoder, its code of 4 × 4 × 4 at the narrowest place."""
    act, depth = o.act(), o.depth(1, 5)

    def inner() -> list[nn.Module]:
        return [layer for _ in range(depth) for layer in (nn.Conv2d(8, 8, 3, padding=1), act())]

    encoder = [nn.Conv2d(1, 8, 3, 2, 1), act(), *inner(), nn.Conv2d(8, 4, 3, 2, 1)]
    decoder = [nn.ConvTranspose2d(4, 8, 3, 2, 1), act(), *inner()]
    model = nn.Sequential(*encoder, *decoder, nn.ConvTranspose2d(8, 1, 4, 2, 1))
    return Drawn(model, tasks.reconstruction())


class Encoder(nn.Module):
    """Torch's own transformer layers on an image's rows, read at a token of their own."""

    def __init__(self, width: int, depth: int, act: str, first: bool, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(SIDE, width)
        self.position = nn.Parameter(0.1 * torch.randn(SIDE + 1, width))
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout, act, batch_first=True, norm_first=first
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        h = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1) + self.position
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(h[:, 0])
        return out


def encoder(o: Options) -> Drawn:
    """A stack of `nn.TransformerEncoderLayer`, most of them post-norm, as is their default."""
    act, depth = o.choice("act", ["relu", "gelu"]), o.depth(1, 8)
    first, dropout = o.yes("norm first", 0.4), o.choice("dropout", [0.0, 0.1])
    return Drawn(Encoder(32, depth, act, first, dropout), tasks.rows())


class Cells(nn.Module):
    """A recurrence written out as a loop over the rows."""

    def __init__(self, width: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.width, self.act = width, act()
        self.inputs, self.state = nn.Linear(SIDE, width), nn.Linear(width, width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        h = x.new_zeros(len(x), self.width)
        for row in x.unbind(1):
            h = self.act(self.inputs(row) + self.state(h))
        out: Tensor = self.head(h)
        return out


def cells(o: Options) -> Drawn:
    """A plain recurrence, with blank rows behind the image in half of the cases."""
    act = ACTS[o.choice("act", ["tanh", "relu", "sigmoid"], [0.5, 0.3, 0.2])]
    blank = o.choice("blank", [0, tasks.BLANK])
    return Drawn(Cells(o.choice("width", [32, 64]), act), tasks.rows(blank))


def friedman(o: Options) -> Drawn:
    """Dense layers on a smooth function of ten features, with one of three losses."""
    act, depth, norm = o.act(), o.depth(2, 16), o.norm("batch", "layer")
    width, loss = o.choice("width", [24, 50, 100]), o.choice("loss", ["mse", "huber", "l1"])
    sizes = [10, *[width] * depth]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), norm1d(norm, after), act()]
    criterion = {"mse": F.mse_loss, "huber": F.huber_loss, "l1": F.l1_loss}[loss]
    return Drawn(nn.Sequential(*layers, nn.Linear(width, 1)), tasks.friedman(criterion))


OTHERS: dict[str, Callable[[Options], Drawn]] = {
    f.__name__: f for f in (vgg, convolutional, encoder, cells, friedman)
}


def draw_any(family: str, seed: int, harsh: bool = False) -> Drawn:
    """Return the network of any family and seed."""
    if family in FAMILIES:
        return draw(family, seed, harsh)
    return made(OTHERS[family], seed, len(FAMILIES) + list(OTHERS).index(family), harsh)
