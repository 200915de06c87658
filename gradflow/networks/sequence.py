"""Recurrent networks that read a sequence, many independent replicas at once.

The loops over time of ``rnn`` and ``gru`` run all replicas in one batched product per step, which
takes a third of the time of ``nn.RNN`` and ``nn.GRU`` one after the other; for ``lstm`` torch's
own fused kernel per replica is twice as fast as such a loop (15 replicas, two cores).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from gradflow.errors import unknown_name
from gradflow.networks.architectures import ReplicatedLinear
from gradflow.networks.recurrent import set_spectral_radius

Weights = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Attributes
    ----------
    gates
        Blocks of `width` rows in its weights, in torch's order.
    run
        (inputs (replicas, batch, time, features), weights) -> states (replicas, batch, time,
        width), from a state of 0.
    """

    gates: int
    run: Callable[[Tensor, Weights], Tensor]


def _rnn(inputs: Tensor, weights: Weights) -> Tensor:
    """h = tanh(W_i x + b_i + W_h h + b_h)."""
    w_i, w_h, b_i, b_h = weights
    state, states = _start(inputs, w_h), []
    for projected in _projected(inputs, w_i, b_i + b_h):
        state = torch.tanh(torch.baddbmm(projected, state, w_h.mT))
        states.append(state)
    return torch.stack(states, 2)


def _gru(inputs: Tensor, weights: Weights) -> Tensor:
    """As `torch.nn.GRU`: the reset gate multiplies W_h h + b_h."""
    w_i, w_h, b_i, b_h = weights
    state, states, width = _start(inputs, w_h), [], w_h.shape[2]
    for projected in _projected(inputs, w_i, b_i):
        own = torch.baddbmm(b_h.unsqueeze(1), state, w_h.mT)
        gates = torch.sigmoid(projected[..., : 2 * width] + own[..., : 2 * width])
        reset, update = gates.chunk(2, -1)
        new = torch.tanh(projected[..., 2 * width :] + reset * own[..., 2 * width :])
        state = torch.lerp(new, state, update)
        states.append(state)
    return torch.stack(states, 2)


def _lstm(inputs: Tensor, weights: Weights) -> Tensor:
    """As `torch.nn.LSTM`, whose kernel it is."""
    outputs = []
    for x, *own in zip(inputs, *weights, strict=True):
        start = x.new_zeros(1, len(x), own[1].shape[1])
        options: tuple[Any, ...] = (True, 1, 0.0, True, False, True)  # biases, one layer, …
        outputs.append(torch.lstm(x, (start, start), own, *options)[0])
    return torch.stack(outputs)


def _start(inputs: Tensor, w_h: Tensor) -> Tensor:
    return inputs.new_zeros(len(inputs), inputs.shape[1], w_h.shape[2])


def _projected(inputs: Tensor, w_i: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Return W_i x + bias of every time step, (replicas, batch, rows) each, in one product."""
    flat = inputs.transpose(1, 2).flatten(1, 2)
    product = torch.baddbmm(bias.unsqueeze(1), flat, w_i.mT)
    replicas, examples, time, _ = inputs.shape
    return product.view(replicas, time, examples, -1).unbind(1)


#: name -> cell. A new one is one entry.
CELLS: dict[str, Cell] = {"rnn": Cell(1, _rnn), "lstm": Cell(4, _lstm), "gru": Cell(3, _gru)}


class ReplicatedRecurrent(nn.Module):
    """`replicas` independent recurrent layers; weights as in torch, with an axis of replicas."""

    def __init__(
        self, cell: str, replicas: int, features: int, width: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise unknown_name("architecture", cell, CELLS)
        self.cell = cell
        rows = CELLS[cell].gates * width
        self.weight_ih = nn.Parameter(torch.empty(replicas, rows, features, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(replicas, rows, width, dtype=dtype))
        self.bias_ih = nn.Parameter(torch.empty(replicas, rows, dtype=dtype))
        self.bias_hh = nn.Parameter(torch.empty(replicas, rows, dtype=dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, time, features) -> states (replicas, batch, time, width)."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return CELLS[self.cell].run(inputs, weights)


class SequenceNetwork(nn.Module):
    """A recurrent layer and a dense one that reads its last `readings` states."""

    def __init__(
        self, recurrent: ReplicatedRecurrent, readings: int, outputs: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        replicas, _, width = recurrent.weight_hh.shape
        self.recurrent, self.readings = recurrent, readings
        self.output = ReplicatedLinear(replicas, width, outputs, dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, time, features) -> (replicas, batch · readings, outputs)."""
        states = self.recurrent(inputs)[:, :, -self.readings :]
        read: Tensor = self.output(states.flatten(1, 2))
        return read


@torch.no_grad()
def initialize(
    network: SequenceNetwork, spectral_radius: float | None, generators: Sequence[Generator]
) -> None:
    """Draw all parameters, replica r from generator r, on the CPU.

    U(±1/√width), torch's rule, but for the recurrent weights where `spectral_radius` is given:
    each gate's square block is Gaussian, scaled so that its largest |eigenvalue| is just that.
    """
    weight = network.recurrent.weight_hh
    width = weight.shape[2]
    for replica, generator in enumerate(generators):
        for parameter in network.parameters():
            parameter[replica].uniform_(-(width**-0.5), width**-0.5, generator=generator)
        if spectral_radius is not None:
            for block in torch.split(weight[replica], width):
                block.normal_(generator=generator)
    if spectral_radius is not None:
        set_spectral_radius(weight, spectral_radius, CELLS[network.recurrent.cell].gates)
