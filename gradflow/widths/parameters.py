"""What a network's width does to its parameters: which of their sides grow with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.modules import own_parameters
from gradflow.networks.layers import ReplicatedConv, ReplicatedLinear, ReplicatedNorm
from gradflow.networks.recurrent import Cell

#: With a leading axis of replicas, of which there is one here.
_REPLICATED = (ReplicatedConv, ReplicatedLinear, ReplicatedNorm, Cell)
_TABLES = (nn.Embedding, nn.EmbeddingBag)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
#: A power as near as this to a half is one: 4 n + 3 inputs are n.
_SNAP = 0.1


@dataclass(frozen=True)
class Held:
    """One parameter of one network.

    Attributes
    ----------
    fans
        Inputs and outputs of the map that it is part of; a vector has one input. None: which side
        is which is not known.
    rms
        Of its entries at the start.
    readouts
        Modules that multiply by a weight which is an embedding's table as well.
    """

    name: str
    shape: tuple[int, ...]
    fans: tuple[int, int] | None
    rms: float
    readouts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Growth:
    """How one parameter grows, in powers of the width.

    Attributes
    ----------
    inputs, outputs
        Of its fan-in and fan-out; 0 where the width does not change it.
    initial
        Of the rms of its entries at the start; None where that is 0.
    """

    name: str
    inputs: float
    outputs: float
    initial: float | None
    readouts: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """What the width does to it."""
        sides = self.inputs != 0, self.outputs != 0
        return {(0, 0): "fixed", (0, 1): "input", (1, 0): "output", (1, 1): "hidden"}[sides]


def held_by(model: nn.Module) -> list[Held]:
    """Return every parameter of a network, by the name that `named_parameters` gives it."""
    owners: dict[int, list[tuple[str, nn.Module, str]]] = {}
    found = dict[int, Tensor]()
    for part, module in walks.named_parts(model):
        for name, parameter in own_parameters(module).items():
            owners.setdefault(id(parameter), []).append((part, module, name))
            found[id(parameter)] = parameter
    return [_held(parameter, owners[key]) for key, parameter in found.items()]


def _held(parameter: Tensor, owners: Sequence[tuple[str, nn.Module, str]]) -> Held:
    _, module, name = next((o for o in owners if isinstance(o[1], _TABLES)), owners[0])
    others = [part for part, owner, _ in owners if not isinstance(owner, _TABLES)]
    first, _, own = owners[0]
    shape = tuple(parameter.shape[isinstance(module, _REPLICATED) :])
    size = torch.linalg.vector_norm(parameter.detach(), dtype=torch.float64)
    return Held(
        name=f"{first}.{own}" if first else own,
        shape=shape,
        fans=_fans(module, name, shape),
        rms=float(size) / math.sqrt(max(parameter.numel(), 1)),
        readouts=tuple(others) if isinstance(module, _TABLES) else (),
    )


def _fans(module: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """(inputs, outputs), with torch's order of axes."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    if isinstance(module, _TABLES):
        return 1, shape[1]  # a row is looked up
    if isinstance(module, _TRANSPOSED) or type(module).__name__ == "Conv1D":  # GPT-2's
        return shape[0] * math.prod(shape[2:]), shape[1]
    return (math.prod(shape[1:]), shape[0]) if "weight" in name else None


def growths(networks: Sequence[tuple[int, Sequence[Held]]]) -> list[Growth]:
    """Return how parameters grow from the smallest to the largest width at which they are there.

    Parameters
    ----------
    networks
        Their widths, and what they hold.
    """
    every: dict[str, dict[int, list[Held]]] = {}
    for width, held in networks:
        for parameter in held:
            every.setdefault(parameter.name, {}).setdefault(width, []).append(parameter)
    found = (_growth(by_width) for by_width in every.values() if len(by_width) > 1)
    return [growth for growth in found if growth is not None]


def _growth(by_width: dict[int, list[Held]]) -> Growth | None:
    narrow, wide = min(by_width), max(by_width)
    small, large = by_width[narrow], by_width[wide]
    if len(small[0].shape) != len(large[0].shape):
        return None
    unit = math.log(wide / narrow)
    inputs, outputs = _grown(small[0], large[0])
    ratio = _mean_log(large) - _mean_log(small)
    return Growth(
        name=small[0].name,
        inputs=snapped(math.log(inputs) / unit),
        outputs=snapped(math.log(outputs) / unit),
        initial=snapped(ratio / unit) if math.isfinite(ratio) else None,
        readouts=small[0].readouts,
    )


def _mean_log(held: Sequence[Held]) -> float:
    """The mean over the seeds of the logarithm of a parameter's size; NaN where it is 0."""
    return sum(math.log(h.rms) if h.rms > 0 else math.nan for h in held) / len(held)


def _grown(small: Held, large: Held) -> tuple[float, float]:
    """By which factors fan-in and fan-out grow."""
    if small.fans is not None and large.fans is not None:
        return large.fans[0] / small.fans[0], large.fans[1] / small.fans[1]
    grown = [b / a for a, b in zip(small.shape, large.shape, strict=True) if a != b]
    if len(grown) < 2:  # a gain, a position, a token of its own
        return 1.0, math.prod(grown)
    both = math.prod(grown) ** (1 / len(grown))
    return both, both


def snapped(power: float) -> float:
    """Return the half that is as good as `power`, or it to two digits."""
    half = round(2 * power) / 2
    return half + 0.0 if abs(power - half) <= _SNAP else round(power, 2)
