"""Networks of many families, drawn at random: most of them common, some of them foolish.

Each family draws its options from a generator and returns a plain torch module with its task; the
same generator state gives the same network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from families import tasks
from families.tasks import SIDE, Task
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

ACTS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky-relu": nn.LeakyReLU,
    "selu": nn.SELU,
}
CLASSES = 10


@dataclass(frozen=True)
class Drawn:
    """A network with its task, and the options that it was drawn with."""

    model: nn.Module
    task: Task
    options: dict[str, Any] = field(default_factory=dict)


class Options:
    """Draws options and remembers them; harsh ones are deep and badly initialised more often."""

    def __init__(self, rng: np.random.Generator, harsh: bool = False) -> None:
        self.rng, self.drawn, self.harsh = rng, dict[str, Any](), harsh

    def choice(self, name: str, values: list[Any], p: list[float] | None = None) -> Any:
        """Draw one of `values`."""
        value = values[int(self.rng.choice(len(values), p=p))]
        self.drawn[name] = value
        return value

    def depth(self, least: int, most: int) -> int:
        """Draw a depth, uniform in its logarithm; a harsh one from the upper half of that."""
        share = self.rng.uniform()
        value = round(least * (most / least) ** ((1 + share) / 2 if self.harsh else share))
        self.drawn["depth"] = value
        return value

    def act(self) -> Callable[[], nn.Module]:
        """Draw an activation; ReLU and GELU more often."""
        p = [0.25, 0.2, 0.12, 0.12, 0.1, 0.07, 0.07, 0.07]
        return ACTS[self.choice("act", list(ACTS), p)]

    def norm(self, *names: str) -> str:
        """Draw a normalisation; none in half of the cases."""
        share = 0.5 / len(names)
        return str(self.choice("norm", ["none", *names], [0.5, *[share] * len(names)]))

    def yes(self, name: str, probability: float) -> bool:
        """Draw a yes or no."""
        return bool(self.choice(name, [True, False], [probability, 1 - probability]))


def initialised(model: nn.Module, options: Options) -> nn.Module:
    """Draw the weights anew, in one of the ways that people do, and foolish ones."""
    ways, harsh = ["default", "he", "xavier", "orthogonal", "normal"], options.harsh
    way = options.choice("init", ways, [0.4, 0.2, 0.15, 0.1, 0.15])
    most, often, shifted = (1.1, 0.9, 0.25) if harsh else (0.7, 0.45, 0.06)
    gain = float(10 ** options.rng.uniform(-most, most)) if options.yes("scaled", often) else 1.0
    std = float(10 ** options.rng.uniform(-2.5, 0.3))
    shift = float(options.rng.uniform(-6, 6)) if options.yes("shifted", shifted) else 0.0
    options.drawn |= {"gain": gain, "shift": shift} | ({"std": std} if way == "normal" else {})
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.dim() < 2 or isinstance(module, nn.Embedding):
                if shift and "bias" in name and isinstance(module, nn.Linear | nn.Conv2d):
                    nn.init.constant_(p, shift)
                continue
            _weights(p, way, std)
            with torch.no_grad():
                p.mul_(gain)
    return model


def _weights(p: Tensor, way: str, std: float) -> None:
    if way == "he":
        nn.init.kaiming_normal_(p, nonlinearity="relu")
    elif way == "xavier":
        nn.init.xavier_uniform_(p)
    elif way == "orthogonal":
        nn.init.orthogonal_(p)
    elif way == "normal":
        nn.init.normal_(p, 0.0, std)


def norm1d(name: str, width: int) -> nn.Module:
    """Return a normalisation of (N, width)."""
    made: dict[str, Callable[[], nn.Module]] = {
        "none": nn.Identity,
        "batch": lambda: nn.BatchNorm1d(width),
        "layer": lambda: nn.LayerNorm(width),
    }
    return made[name]()


def norm2d(name: str, channels: int) -> nn.Module:
    """Return a normalisation of (N, channels, H, W)."""
    made: dict[str, Callable[[], nn.Module]] = {
        "none": nn.Identity,
        "batch": lambda: nn.BatchNorm2d(channels),
        "group": lambda: nn.GroupNorm(4, channels),
    }
    return made[name]()


class Residual(nn.Module):
    """x + f(x), or f(x) alone."""

    def __init__(self, inner: nn.Module, add: bool = True) -> None:
        super().__init__()
        self.inner, self.add = inner, add

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        y: Tensor = self.inner(x)
        return x + y if self.add else y


def mlp(o: Options) -> Drawn:
    """A stack of dense layers on the pixels."""
    act, depth = o.act(), o.depth(2, 30)
    width, norm, add = (
        o.choice("width", [32, 64, 128]),
        o.norm("batch", "layer"),
        o.yes("residual", 0.25),
    )
    blocks = [
        Residual(nn.Sequential(nn.Linear(width, width), norm1d(norm, width), act()), add)
        for _ in range(depth - 1)
    ]
    first = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, width), act())
    return Drawn(nn.Sequential(first, *blocks, nn.Linear(width, CLASSES)), tasks.images())


def cnn(o: Options) -> Drawn:
    """Convolutions, with or without normalisation and residual connections."""
    act, depth = o.act(), o.depth(2, 24)
    width, norm, add = (
        o.choice("width", [8, 16, 24]),
        o.norm("batch", "group"),
        o.yes("residual", 0.3),
    )
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), act()]
    for i in range(depth - 1):
        conv = nn.Conv2d(width, width, 3, padding=1)
        layers.append(Residual(nn.Sequential(conv, norm2d(norm, width), act()), add))
        if i in (depth // 3, 2 * depth // 3):
            layers.append(nn.MaxPool2d(2))
    if o.yes("pooled", 0.5):
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)]
    else:
        head = [nn.Flatten(), nn.LazyLinear(CLASSES)]
    model = nn.Sequential(*layers, *head)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, SIDE, SIDE))
    return Drawn(model.train(), tasks.images())


class Dense(nn.Module):
    """DenseNet's block: every layer sees all before it."""

    def __init__(self, channels: int, growth: int, depth: int, act: Any, norm: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                norm2d(norm if (channels + i * growth) % 4 == 0 else "none", channels + i * growth),
                act(),
                nn.Conv2d(channels + i * growth, growth, 3, padding=1),
            )
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return all features."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


def densenet(o: Options) -> Drawn:
    """Two dense blocks with a transition."""
    act, depth, norm = o.act(), o.depth(2, 7), o.norm("batch", "group")
    growth = o.choice("growth", [4, 8])
    wide = 8 + depth * growth
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        Dense(8, growth, depth, act, norm),
        nn.Conv2d(wide, 8, 1),
        nn.AvgPool2d(2),
        Dense(8, growth, depth, act, norm),
        act(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(wide, CLASSES),
    )
    return Drawn(model, tasks.images())


class Recurrent(nn.Module):
    """A recurrent network that answers from its last state."""

    def __init__(self, cell: str, width: int, layers: int, nonlinearity: str) -> None:
        super().__init__()
        options: dict[str, Any] = {"batch_first": True, "num_layers": layers}
        if cell == "RNN":
            options["nonlinearity"] = nonlinearity
        self.cell = getattr(nn, cell)(SIDE, width, **options)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        out: Tensor = self.head(self.cell(x)[0][:, -1])
        return out


def recurrent(o: Options) -> Drawn:
    """RNN, LSTM or GRU on an image's rows, with blank steps behind them in most cases."""
    cell = o.choice("cell", ["RNN", "LSTM", "GRU"])
    model = Recurrent(
        cell,
        o.choice("width", [32, 64]),
        o.choice("layers", [1, 2]),
        o.choice("nonlinearity", ["tanh", "relu"], [0.75, 0.25]),
    )
    blank = o.choice("blank", [0, tasks.BLANK, 3 * tasks.BLANK], [0.25, 0.5, 0.25])
    if cell == "LSTM":
        bias = o.choice("forget", [None, 1.0, 3.0, -3.0], [0.5, 0.2, 0.15, 0.15])
        if bias is not None:
            for name, p in model.cell.named_parameters():
                if name.startswith("bias_ih"):
                    with torch.no_grad():
                        p[p.numel() // 4 : p.numel() // 2] = bias
    return Drawn(model, tasks.rows(blank))


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself."""

    def __init__(self, width: int, heads: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) -> the same."""
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.scale * q, k, v)
        out: Tensor = self.out(y.transpose(1, 2).reshape(n, t, width))
        return out


class Block(nn.Module):
    """A transformer's block, normalised before, after or not at all."""

    def __init__(self, mixing: nn.Module, width: int, act: Any, place: str, add: bool) -> None:
        super().__init__()
        mlp = nn.Sequential(nn.Linear(width, 2 * width), act(), nn.Linear(2 * width, width))
        self.parts = nn.ModuleList([mixing, mlp])
        self.norms = nn.ModuleList(
            nn.Identity() if place == "none" else nn.LayerNorm(width) for _ in range(2)
        )
        self.place, self.add = place, add

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) -> the same."""
        for part, norm in zip(self.parts, self.norms, strict=True):
            y = part(norm(x) if self.place == "pre" else x)
            x = x + y if self.add else y
            x = norm(x) if self.place == "post" else x
        return x


class Sequence(nn.Module):
    """Embeds rows or tokens, mixes them in blocks, answers from the mean or the last."""

    def __init__(
        self,
        embed: nn.Module,
        length: int,
        width: int,
        blocks: list[nn.Module],
        place: str,
        out: int,
    ) -> None:
        super().__init__()
        self.embed, self.blocks = embed, nn.ModuleList(blocks)
        self.position = nn.Parameter(0.02 * torch.randn(length, width))
        self.norm = nn.LayerNorm(width) if place == "pre" else nn.Identity()
        self.head = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        h = self.embed(x) + self.position
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(self.norm(h).mean(1))
        return out


def transformer(o: Options) -> Drawn:
    """Pre-norm, post-norm or no norm, with or without residual connections."""
    act, depth, width = o.act(), o.depth(1, 12), o.choice("width", [32, 48])
    place = o.choice("place", ["pre", "post", "none"], [0.45, 0.3, 0.25])
    add, scale = o.yes("residual", 0.85), o.choice("scale", [1.0, 20.0], [0.9, 0.1])
    text = o.yes("text", 0.4)
    blocks: list[nn.Module] = [
        Block(Attention(width, 4, scale), width, act, place, add) for _ in range(depth)
    ]
    embed = nn.Embedding(8, width) if text else nn.Linear(SIDE, width)
    length, out = (12, 8) if text else (SIDE, CLASSES)
    model = Sequence(embed, length, width, blocks, place, out)
    return Drawn(model, tasks.copying() if text else tasks.rows())


class Mixing(nn.Module):
    """Mixes tokens by a dense layer along the sequence."""

    def __init__(self, length: int, act: Any) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(length, 2 * length), act(), nn.Linear(2 * length, length)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) -> the same."""
        y: Tensor = self.inner(x.mT)
        return y.mT


def mixer(o: Options) -> Drawn:
    """MLP-Mixer on the rows."""
    act, depth, width = o.act(), o.depth(1, 12), o.choice("width", [32, 48])
    place, add = o.choice("place", ["pre", "post", "none"], [0.5, 0.2, 0.3]), o.yes("residual", 0.8)
    blocks: list[nn.Module] = [
        Block(Mixing(SIDE, act), width, act, place, add) for _ in range(depth)
    ]
    return Drawn(
        Sequence(nn.Linear(SIDE, width), SIDE, width, blocks, place, CLASSES), tasks.rows()
    )


def stack(sizes: list[int], act: Any, norm: str = "none") -> list[nn.Module]:
    """Return dense layers with activations between them."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), norm1d(norm, b), act()]
    return [*layers, nn.Linear(sizes[-2], sizes[-1])]


def autoencoder(o: Options) -> Drawn:
    """Dense encoder and decoder around a bottleneck."""
    act, depth, norm = o.act(), o.depth(1, 8), o.norm("batch", "layer")
    code, width, pixels = o.choice("code", [8, 16, 32]), o.choice("width", [64, 128]), SIDE**2
    encoder = stack([pixels, *[width] * depth, code], act, norm)
    decoder = stack([code, *[width] * depth, pixels], act, norm)
    shape = nn.Unflatten(1, (1, SIDE, SIDE))
    return Drawn(nn.Sequential(nn.Flatten(), *encoder, *decoder, shape), tasks.reconstruction())


class Variational(nn.Module):
    """A variational autoencoder; returns the pixels and the KL divergence side by side."""

    def __init__(self, width: int, depth: int, code: int, act: Any, norm: str) -> None:
        super().__init__()
        pixels = SIDE**2
        self.encoder = nn.Sequential(
            nn.Flatten(), *stack([pixels, *[width] * depth, 2 * code], act, norm)
        )
        self.decoder = nn.Sequential(*stack([code, *[width] * depth, pixels], act, norm))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, pixels + 1)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        divergence = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1, keepdim=True)
        return torch.cat([self.decoder(code), divergence], 1)


def vae(o: Options) -> Drawn:
    """A variational autoencoder of dense layers."""
    act, depth, norm = o.act(), o.depth(1, 6), o.norm("batch", "layer")
    width, code = o.choice("width", [64, 128]), o.choice("code", [8, 16])
    return Drawn(Variational(width, depth, code, act, norm), tasks.elbo())


class UNet(nn.Module):
    """Down twice, up twice, with or without the connections across."""

    def __init__(self, width: int, depth: int, act: Any, norm: str, across: bool) -> None:
        super().__init__()

        def convs(a: int, b: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for i in range(depth):
                layers += [nn.Conv2d(a if i == 0 else b, b, 3, padding=1), norm2d(norm, b), act()]
            return nn.Sequential(*layers)

        self.across = across
        self.down = nn.ModuleList([convs(1, width), convs(width, 2 * width)])
        self.middle = convs(2 * width, 2 * width)
        extra = 2 if across else 1
        self.up = nn.ModuleList([convs(extra * 2 * width, width), convs(width * extra, width)])
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> the same."""
        kept = []
        for part in self.down:
            x = part(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for part, beside in zip(self.up, reversed(kept), strict=True):
            x = F.interpolate(x, size=beside.shape[-2:])
            x = part(torch.cat([x, beside], 1) if self.across else x)
        out: Tensor = self.out(x)
        return out


def unet(o: Options) -> Drawn:
    """A U-Net that removes noise."""
    act, depth, norm = o.act(), o.depth(1, 4), o.norm("batch", "group")
    return Drawn(UNet(8, depth, act, norm, o.yes("across", 0.7)), tasks.denoising())


def regressor(o: Options) -> Drawn:
    """Dense layers on a regression task, its targets of different scales."""
    act, depth, norm = o.act(), o.depth(2, 20), o.norm("batch", "layer")
    width = o.choice("width", [32, 64])
    scale = o.choice("target scale", [1.0, 0.01, 30.0, 1000.0], [0.55, 0.15, 0.15, 0.15])
    return Drawn(
        nn.Sequential(*stack([16, *[width] * depth, 1], act, norm)), tasks.regression(scale=scale)
    )


class GraphNet(nn.Module):
    """Message passing over a dense adjacency matrix."""

    def __init__(self, width: int, depth: int, act: Any, add: bool, mean: bool) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.layers = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.acts = nn.ModuleList(act() for _ in range(depth))
        self.head, self.add, self.mean = nn.Linear(width, 2), add, mean

    def forward(self, x: Tensor) -> Tensor:
        """(N, nodes, nodes + 2) -> scores."""
        nodes = x.shape[1]
        edges, h = x[..., :nodes], self.first(x[..., nodes:])
        if self.mean:
            edges = edges / edges.sum(2, keepdim=True).clamp(min=1)
        for layer, act in zip(self.layers, self.acts, strict=True):
            y = act(layer(torch.cat([h, edges @ h], 2)))
            h = h + y if self.add else y
        out: Tensor = self.head(h.mean(1))
        return out


def graph(o: Options) -> Drawn:
    """Message passing, summed or averaged, with or without residual connections."""
    act, depth, width = o.act(), o.depth(1, 16), o.choice("width", [16, 32])
    return Drawn(
        GraphNet(width, depth, act, o.yes("residual", 0.4), o.yes("mean", 0.6)), tasks.graphs()
    )


class Coupling(nn.Module):
    """Affine coupling layers (RealNVP); returns −log p of each example."""

    def __init__(
        self, features: int, width: int, depth: int, layers: int, act: Any, bound: bool
    ) -> None:
        super().__init__()
        half = features // 2
        self.parts = nn.ModuleList(
            nn.Sequential(*stack([half, *[width] * depth, features], act)) for _ in range(layers)
        )
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) -> (N,)."""
        total = x.new_zeros(len(x))
        for part in self.parts:
            kept, changed = x.chunk(2, 1)
            log_scale, shift = part(kept).chunk(2, 1)
            log_scale = torch.tanh(log_scale) if self.bound else log_scale
            x = torch.cat([changed * log_scale.exp() + shift, kept], 1)
            total = total + log_scale.sum(1)
        return 0.5 * (x**2).sum(1) + 0.5 * x.shape[1] * math.log(2 * math.pi) - total


def flow(o: Options) -> Drawn:
    """A normalising flow."""
    act, depth, layers = o.act(), o.depth(1, 6), o.choice("layers", [2, 4, 8, 12])
    return Drawn(Coupling(8, 32, depth, layers, act, o.yes("bounded", 0.6)), tasks.density())


FAMILIES: dict[str, Callable[[Options], Drawn]] = {
    f.__name__: f
    for f in (
        *(mlp, cnn, densenet, recurrent, transformer, mixer),
        *(autoencoder, vae, unet, regressor, graph, flow),
    )
}


def draw(family: str, seed: int, harsh: bool = False) -> Drawn:
    """Return the network of that family and seed."""
    return made(FAMILIES[family], seed, list(FAMILIES).index(family), harsh)


def made(family: Callable[[Options], Drawn], seed: int, number: int, harsh: bool) -> Drawn:
    """Return the network of a seed; `number` keeps families apart."""
    torch.manual_seed(seed)
    options = Options(np.random.default_rng([seed, number]), harsh)
    drawn = family(options)
    return Drawn(initialised(drawn.model, options), drawn.task, options.drawn)
