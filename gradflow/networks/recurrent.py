"""Recurrent networks with a leading axis of replicas: a cell, unrolled over the time steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Step(NamedTuple):
    """One time step.

    Attributes
    ----------
    recurrent
        (replicas, batch, gates · units): W h_{t−1} + b, the recurrent part of the
        pre-activations.
    previous, state
        (replicas, batch, …): the state before and after: h, for an LSTM h and c side by side.
    pre_activation
        Of the plain cell's φ; None for gated ones.
    """

    recurrent: Tensor
    previous: Tensor
    state: Tensor
    pre_activation: Tensor | None


class Cell(nn.Module):
    """Weights of a recurrent layer; `weight` is the recurrent matrix, gate under gate.

    Attributes
    ----------
    input_weight, weight
        (replicas, gates · units, features), (replicas, gates · units, units).
    input_bias, bias
        (replicas, gates · units).
    """

    gates, states = 1, 1

    def __init__(
        self, replicas: int, features: int, units: int, activation: nn.Module, dtype: torch.dtype
    ) -> None:
        super().__init__()
        rows = self.gates * units
        self.units, self.activation = units, activation
        self.input_weight = nn.Parameter(torch.empty(replicas, rows, features, dtype=dtype))
        self.weight = nn.Parameter(torch.empty(replicas, rows, units, dtype=dtype))
        self.input_bias = nn.Parameter(torch.empty(replicas, rows, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(replicas, rows, dtype=dtype))

    def start(self, batch: int) -> Tensor:
        """Return the state before the first step: 0."""
        return self.weight.new_zeros(len(self.weight), batch, self.states * self.units)

    def step(self, driven: Tensor, previous: Tensor) -> Step:
        """Return the next step, given what the inputs contribute, W x_t + b."""
        hidden = previous[..., : self.units]
        recurrent = torch.baddbmm(self.bias.unsqueeze(1), hidden, self.weight.mT)
        return Step(recurrent, previous, *self.combined(driven, recurrent, previous))

    def combined(
        self,
        driven: Tensor,
        recurrent: Tensor,
        previous: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor | None]:
        """Return the new state, and the pre-activation where there is one: φ(W x + W h + b)."""
        z = driven + recurrent
        return self.activation(z), z


class LSTMCell(Cell):
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000; torch's order."""

    gates, states = 4, 2

    def combined(
        self, driven: Tensor, recurrent: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return h = o tanh(c) beside c = f c + i g."""
        i, f, g, o = (driven + recurrent).chunk(4, -1)
        cell = torch.sigmoid(f) * previous[..., self.units :] + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(cell), cell], -1), None


class GRUCell(Cell):
    """Cho et al. 2014, with torch's order of gates and place of the reset gate."""

    gates = 3

    def combined(
        self, driven: Tensor, recurrent: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return (1 − z) n + z h."""
        (dr, dz, dn), (rr, rz, rn) = driven.chunk(3, -1), recurrent.chunk(3, -1)
        r, z = torch.sigmoid(dr + rr), torch.sigmoid(dz + rz)
        return torch.lerp(torch.tanh(dn + r * rn), previous, z), None


CELLS: dict[str, type[Cell]] = {"rnn": Cell, "lstm": LSTMCell, "gru": GRUCell}


class Recurrent(nn.Module):
    """A cell over (replicas, batch, steps, features); gives the last hidden state."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, steps, features) -> (replicas, batch, units)."""
        state = inputs
        for step in self.steps(inputs):
            state = step.state
        return state[..., : self.cell.units]

    def steps(self, inputs: Tensor) -> Iterator[Step]:
        """Yield every time step; the next one is made from the state that was yielded."""
        replicas, batch, count, features = inputs.shape
        cell = self.cell
        flat = inputs.reshape(replicas, batch * count, features)
        driven = torch.baddbmm(cell.input_bias.unsqueeze(1), flat, cell.input_weight.mT)
        driven = driven.view(replicas, batch, count, -1)
        state = cell.start(batch)
        for t in range(count):
            step = cell.step(driven[:, :, t], state)
            yield step
            state = step.state


def spectral_radii(weight: Tensor, gates: int = 1) -> Tensor:
    """Return the largest |eigenvalue| of each gate's recurrent matrix, (replicas, gates)."""
    units = weight.shape[-1]
    blocks = weight.detach().cpu().double().view(len(weight), gates, units, units)
    radii: Tensor = torch.linalg.eigvals(blocks).abs().amax(-1)
    return radii


def set_spectral_radius(weight: Tensor, radius: float, gates: int) -> None:
    """Scale each gate's recurrent matrix to this spectral radius, in place."""
    factors = radius / spectral_radii(weight, gates)
    with torch.no_grad():
        blocks = weight.view(len(weight), gates, -1, weight.shape[-1])
        blocks.mul_(factors.to(weight)[..., None, None])


def largest_singular_values(weight: Tensor) -> Tensor:
    """Return σ_max of each replica's recurrent matrix, (replicas,)."""
    found: Tensor = torch.linalg.svdvals(weight.detach().cpu().double())[:, 0]
    return found
