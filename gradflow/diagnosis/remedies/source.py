"""A built-in network as a few lines of plain torch, with the same numbers in its weights."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterable

import torch
from torch import nn

from gradflow.configs.network import NetworkConfig
from gradflow.networks.architectures import build
from gradflow.networks.initialization import INITIALIZERS, initializer
from gradflow.networks.layers import (
    Attention,
    Block,
    Image,
    Pool,
    ReplicatedConv,
    ReplicatedLinear,
    ReplicatedNorm,
    Residual,
    Split,
)
from gradflow.networks.recurrent import Cell, Recurrent

#: Characters of a module on one line.
_WIDE = 80
_CLASSES = {
    "Residual": """\
class Residual(torch.nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)
""",
    "Split": """\
class Split(torch.nn.Module):
    def __init__(self, parts, size):
        super().__init__()
        self.parts, self.size = parts, size

    def forward(self, x):
        missing = self.parts * self.size - x.shape[1]
        return torch.nn.functional.pad(x, (0, missing)).unflatten(1, (self.parts, self.size))
""",
    "Mean": """\
class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(1)
""",
    "Attention": """\
class Attention(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (
            torch.nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, x):
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for p in parts)
        scores = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
        return self.output((scores @ v).transpose(-3, -2).flatten(-2))
""",
    "Last": """\
class Last(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        return self.cell(x)[0][:, -1]
""",
}


class _NoWordsError(Exception):
    """There is no plain torch for a part."""


def source(config: NetworkConfig, inputs: int, outputs: int) -> str | None:
    """Return lines that build the network of `config`, its first seed, as `model`.

    None where plain torch has no module for a part of it.
    """
    one = dataclasses.replace(config, seeds=1, device="cpu")
    network = build(one, inputs, outputs, torch.float32, torch.device("cpu"))
    try:
        text = _text(network)
        images = "Conv2d(" in text
        pool = "torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()" if images else "Mean()"
        text = text.replace("Pool()", pool)
        drawn = _drawn(config, network)
    except _NoWordsError:
        return None
    classes = [body for name, body in _CLASSES.items() if f"{name}(" in text]
    dtype = {"float64": ".double()"}.get(config.dtype, "")
    parts = [*classes, f"model = {text}{dtype}", drawn]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _text(module: nn.Module) -> str:
    """The expression that makes a module."""
    for kind, write in _WRITERS.items():
        if isinstance(module, kind):
            return str(write(module))  # type: ignore[operator]
    if type(module).__module__.startswith("torch.nn.modules.activation"):
        return f"torch.nn.{module!r}"
    raise _NoWordsError


def _sequence(parts: Iterable[str], name: str = "torch.nn.Sequential") -> str:
    """Modules one after the other; equal ones as a loop."""
    items = []
    for part, same in itertools.groupby(parts):
        count = sum(1 for _ in same)
        items.append(part if count == 1 else f"*[{part} for _ in range({count})]")
    flat = f"{name}({', '.join(items)})"
    if len(flat) < _WIDE and "\n" not in flat:
        return flat
    inside = "".join(textwrap.indent(f"\n{item},", "    ") for item in items)
    return f"{name}({inside}\n)"


def _sequential(module: nn.Sequential) -> str:
    return _sequence(map(_text, module))


def _linear(module: ReplicatedLinear) -> str:
    _, fan_out, fan_in = module.weight.shape
    return f"torch.nn.Linear({fan_in}, {fan_out})"


def _conv(module: ReplicatedConv) -> str:
    _, fan_out, channels, *_ = module.weight.shape
    stride = "" if module.stride == 1 else f", stride={module.stride}"
    return f"torch.nn.Conv2d({channels}, {fan_out}, 3{stride}, padding=1)"


def _norm(module: ReplicatedNorm) -> str:
    units, image = module.scale.numel(), module.scale.dim() == 5
    tokens = module.scale.dim() == 4
    known = {
        ("batch", False): f"torch.nn.BatchNorm1d({units})",
        ("batch", True): f"torch.nn.BatchNorm2d({units})",
        ("layer", False): f"torch.nn.LayerNorm({units})",
        ("layer", True): f"torch.nn.GroupNorm(1, {units})",
        ("rms", False): f"torch.nn.RMSNorm({units}, eps=1e-5)",
    }
    text = known.get((module.kind, image))
    if text is None or (tokens and module.kind == "batch"):
        raise _NoWordsError
    return text


def _block(module: Block) -> str:
    norm = [] if module.norm is None else [_text(module.norm)]
    linear, activation = _text(module.linear), _text(module.activation)
    inner = [linear, activation] if module.post else [linear, *norm, activation]
    if not module.residual:
        return _sequence([*inner, *(norm if module.post else [])])
    added = _sequence(inner, "Residual")
    return _sequence([added, *norm]) if module.post and norm else added


def _residual(module: Residual) -> str:
    norm = [] if module.norm is None else [_text(module.norm)]
    body = _text(module.body)
    if module.post and norm:
        return _sequence([f"Residual({body})", *norm])
    return _sequence([*norm, body], "Residual")


def _recurrent(module: Recurrent) -> str:
    cell = module.cell
    size, units = cell.input_weight.shape[-1], cell.units
    kind = {4: "LSTM", 3: "GRU", 1: "RNN"}[cell.gates]
    act = ""
    if kind == "RNN":
        act = {nn.ReLU: ', nonlinearity="relu"', nn.Tanh: ""}.get(type(cell.activation), "none")
        if act == "none":
            raise _NoWordsError
    return f"Last(torch.nn.{kind}({size}, {units}, batch_first=True{act}))"


_WRITERS = {
    ReplicatedLinear: _linear,
    ReplicatedConv: _conv,
    ReplicatedNorm: _norm,
    Block: _block,
    Residual: _residual,
    Recurrent: _recurrent,
    nn.Sequential: _sequential,
    Image: lambda m: f"torch.nn.Unflatten(1, ({m.channels}, {m.side}, {m.side}))",
    Split: lambda m: f"Split({m.parts}, {m.size})",
    Attention: lambda m: f"Attention({m.query.weight.shape[1]}, {m.heads})",
    Pool: lambda _: "Pool()",
}


#: Variance of a weight, by initialiser.
_VARIANCES = {
    "default": "1 / (3 * fan_in)",
    "xavier-normal": "2 / (fan_in + fan_out)",
    "xavier-uniform": "2 / (fan_in + fan_out)",
    "he-normal": "2 / fan_in",
    "he-uniform": "2 / fan_in",
    "lecun-normal": "1 / fan_in",
    "lecun-uniform": "1 / fan_in",
    "orthogonal": "1 / max(fan_in, fan_out)",
}


def _drawn(config: NetworkConfig, network: nn.Module) -> str:
    """The lines that draw the weights: the same numbers as the network's, in its order."""
    how = initializer(config.init)
    name = next(known for known, entry in INITIALIZERS.items() if entry is how)
    if name not in _VARIANCES:
        raise _NoWordsError
    lines = [f"generator = torch.Generator().manual_seed({config.seed})"]
    lines += ["", "def draw(weight, fan_in, fan_out):", *_weight_lines(config, name)]
    lines += ["", "def draw_bias(bias, fan_in):", *_bias_lines(config, name)]
    lines += ["", "for layer in model.modules():"]
    mean = config.bias_mean
    cells = [m for m in network.modules() if isinstance(m, Cell)]
    for cell in cells:
        lines += _cell_lines(cell, config.spectral_radius)
        lines += [f"        layer.bias_ih_l0.data += {mean!r}"] if mean else []
    lines += [
        "    if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):",
        "        fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel()",
        "        draw(layer.weight.data, fan_in, fan_out)",
        "        draw_bias(layer.bias.data, fan_in)",
    ]
    if mean:
        lines += [
            "        if layer is not model[-1]:",
            f"            layer.bias.data += {mean!r}",
        ]
    return "\n".join(lines)


def _weight_lines(config: NetworkConfig, name: str) -> list[str]:
    formula, kind = _VARIANCES[name], INITIALIZERS[name].distribution
    if config.weight_variance is not None:
        formula, kind = f"{config.weight_variance!r} / fan_in", "normal"
    if config.weight_variance == 0:
        return ["    weight.zero_()"]
    gain = "" if config.gain == 1 else f"{config.gain!r} * "
    return {
        "normal": [f"    weight.normal_(0, {gain}({formula}) ** 0.5, generator=generator)"],
        "uniform": [
            f"    bound = 3**0.5 * {gain}({formula}) ** 0.5",
            "    weight.uniform_(-bound, bound, generator=generator)",
        ],
        "orthogonal": [
            f"    std = {gain}({formula}) ** 0.5",
            "    sides = weight.shape[0], weight[0].numel()",
            "    torch.nn.init.orthogonal_(weight, std * max(sides) ** 0.5, generator)",
        ],
    }[kind]


def _bias_lines(config: NetworkConfig, name: str) -> list[str]:
    if config.bias_variance:
        std = config.bias_variance**0.5
        return [f"    bias.normal_(0, {std!r}, generator=generator)"]
    if config.bias_variance is None and name == "default":
        return [
            "    bound = (1 / fan_in) ** 0.5",
            "    bias.uniform_(-bound, bound, generator=generator)",
        ]
    return ["    bias.zero_()"]


def _cell_lines(cell: Cell, radius: float | None) -> list[str]:
    units, gates = cell.units, cell.gates
    scaled = [
        f"        for gate in layer.weight_hh_l0.data.chunk({gates}):",
        f"            gate *= {radius!r} / torch.linalg.eigvals(gate.double()).abs().max().item()",
    ]
    return [
        "    if isinstance(layer, torch.nn.RNNBase):",
        f"        draw(layer.weight_ih_l0.data, {units}, {gates * units})",
        f"        draw_bias(layer.bias_ih_l0.data, {units})",
        f"        for gate in layer.weight_hh_l0.data.chunk({gates}):",
        f"            draw(gate, {units}, {units})",
        f"        draw_bias(layer.bias_hh_l0.data, {units})",
        *(scaled if radius is not None else []),
    ]
