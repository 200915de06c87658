"""Recurrent layers with a leading axis of replicas: a cell, unrolled over the time steps.

One batched product per step runs all replicas, in a third of the time of `nn.RNN` and `nn.GRU` one
after the other. The parameters come in torch's order: input and recurrent weights, then biases.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

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

    torch_name = "RNNCell"
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

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, steps, features) -> hidden states (replicas, batch, steps, units).

        For callers that look at no single step: both parts of z are summed within one product.
        """
        state, states = self.start(inputs.shape[1]), []
        for driven in self._driven(inputs, self.input_bias + self.bias):
            state = self.activation(torch.baddbmm(driven, state, self.weight.mT))
            states.append(state)
        return torch.stack(states, 2)

    def steps(self, inputs: Tensor) -> Iterator[Step]:
        """Yield every time step; the next one is made from the state that was yielded."""
        state = self.start(inputs.shape[1])
        for driven in self._driven(inputs, self.input_bias):
            step = self.step(driven, state)
            yield step
            state = step.state

    def _driven(self, inputs: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        """W x_t + bias of every time step, (replicas, batch, rows) each, in one product."""
        replicas, batch, count, _ = inputs.shape
        flat = inputs.transpose(1, 2).flatten(1, 2)
        product = torch.baddbmm(bias.unsqueeze(1), flat, self.input_weight.mT)
        return product.view(replicas, count, batch, -1).unbind(1)

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


@contextlib.contextmanager
def _quiet_about_slices(device: torch.device) -> Iterator[None]:
    """Drop cuDNN's warning that a replica's weights, slices of all, are copied at every call."""
    if device.type != "cuda":
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous")
        yield


class LSTMCell(Cell):
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000; torch's order."""

    gates, states = 4, 2

    def forward(self, inputs: Tensor) -> Tensor:
        """As `Cell.forward`, by torch's kernel per replica: half the time of a loop over steps."""
        outputs = []
        for x, *weights in zip(inputs, *self.parameters(), strict=True):
            start = x.new_zeros(1, len(x), self.units)
            options: tuple[Any, ...] = (True, 1, 0.0, True, False, True)  # biases, one layer, …
            with _quiet_about_slices(x.device):
                outputs.append(torch.lstm(x, (start, start), weights, *options)[0])
        return torch.stack(outputs)

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

    def forward(self, inputs: Tensor) -> Tensor:
        """As `Cell.forward`; the reset gate needs W x + b and W h + b apart."""
        return torch.stack([step.state for step in self.steps(inputs)], 2)

    def combined(
        self, driven: Tensor, recurrent: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return (1 − z) n + z h."""
        gates = 2 * self.units
        r, z = torch.sigmoid(driven[..., :gates] + recurrent[..., :gates]).chunk(2, -1)
        new = torch.tanh(driven[..., gates:] + r * recurrent[..., gates:])
        return torch.lerp(new, previous, z), None


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
        return self.cell.steps(inputs)


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
