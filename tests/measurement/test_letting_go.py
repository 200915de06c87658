"""What a measurement leaves behind: a circle through torch's graph is never collected."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from torch import nn

import gradflow
from gradflow.configs.network import NetworkConfig


class _Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(torch.tanh(self.first(inputs)))
        return outputs


class _Raising(_Own):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        super().forward(inputs)
        raise RuntimeError("in the middle of the pass")


def _user() -> None:
    gradflow.diagnose(_Own(), torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))


def _raising() -> None:
    with pytest.raises(gradflow.GradflowError, match="in the middle"):
        gradflow.diagnose(_Raising(), torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))


def _watched() -> None:
    model = _Own()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradflow.watch(model, sample_every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(6, 4)).square().mean().backward()
            optimizer.step()
    watch.result()


def _built(**options: object) -> Callable[[], None]:
    config = NetworkConfig(width=8, batch_size=4, seeds=2, **options)  # type: ignore[arg-type]
    return lambda: str(gradflow.diagnose(config)) and None


@pytest.mark.parametrize(
    "measure",
    [
        _user,
        _raising,
        _watched,
        _built(depth=3),
        _built(depth=60, act="relu", weight_variance=1e4),  # leaves the range: scaled
        _built(depth=2, arch="lstm"),
        _built(depth=2, arch="transformer"),
    ],
    ids=["module", "raising", "watched", "mlp", "scaled", "lstm", "transformer"],
)
def test_nothing_of_a_measured_network_stays(measure: Callable[[], None]) -> None:
    measure()  # what is kept for every later one
    before = _tensors()
    measure()
    assert _tensors() <= before


def _tensors() -> int:
    gc.collect()
    return sum(issubclass(type(it), torch.Tensor) for it in gc.get_objects())
