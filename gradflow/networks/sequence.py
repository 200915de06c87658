"""The network of sequence tasks: a recurrent layer and a dense one, many replicas at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from gradflow.configs.architectures import ARCHITECTURES, names_with
from gradflow.configs.registries import loaded
from gradflow.errors import unknown_name
from gradflow.networks.layers import ReplicatedLinear
from gradflow.networks.recurrent import Cell, set_spectral_radius


class SequenceNetwork(nn.Module):
    """A recurrent layer and a dense one that reads its last `readings` states."""

    def __init__(self, recurrent: Cell, readings: int, outputs: int) -> None:
        super().__init__()
        replicas, _, width = recurrent.weight.shape
        self.recurrent, self.readings = recurrent, readings
        self.output = ReplicatedLinear(replicas, width, outputs, recurrent.weight.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, time, features) -> (replicas, batch · readings, outputs)."""
        states = self.recurrent(inputs)[:, :, -self.readings :]
        read: Tensor = self.output(states.flatten(1, 2))
        return read


def recurrent_layer(
    arch: str, replicas: int, features: int, width: int, dtype: torch.dtype
) -> Cell:
    """Return the cell of a recurrent architecture, with tanh, not initialised.

    Raises
    ------
    GradflowError
        If there is no recurrent architecture of that name.
    """
    known = names_with("recurrent", True)
    if arch not in known:
        raise unknown_name("architecture of a sequence task", arch, known)
    cell: Cell = loaded(ARCHITECTURES[arch].cell or "")(replicas, features, width, nn.Tanh(), dtype)
    return cell


@torch.no_grad()
def initialize(
    network: SequenceNetwork, spectral_radius: float | None, generators: Sequence[Generator]
) -> None:
    """Draw all parameters, replica r from generator r, on the CPU.

    U(±1/√width), torch's rule, but for the recurrent weights where `spectral_radius` is given:
    each gate's square block is Gaussian, scaled so that its largest |eigenvalue| is just that.
    """
    weight = network.recurrent.weight
    width = weight.shape[2]
    for replica, generator in enumerate(generators):
        for parameter in network.parameters():
            parameter[replica].uniform_(-(width**-0.5), width**-0.5, generator=generator)
        if spectral_radius is not None:
            for block in torch.split(weight[replica], width):
                block.normal_(generator=generator)
    if spectral_radius is not None:
        set_spectral_radius(weight, spectral_radius, network.recurrent.gates)
