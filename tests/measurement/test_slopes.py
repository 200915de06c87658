"""Slopes of large inputs, and attention of several calls at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import gradflow
from gradflow.measurement.slopes import known_slope, slope, slope_by_parts


def test_slopes_part_by_part_are_those_of_the_whole() -> None:
    inputs = torch.randn(3, 70_000, generator=torch.Generator().manual_seed(0))
    found = slope_by_parts(torch.tanh, inputs.mT)
    assert found.shape == (70_000, 3)
    assert torch.equal(found, slope(torch.tanh, inputs.mT))


@pytest.mark.parametrize(
    "module",
    [
        nn.ReLU(),
        nn.LeakyReLU(0.3),
        nn.SiLU(),
        nn.Hardswish(),
        nn.Hardsigmoid(),
        nn.GELU(),
        nn.GELU(approximate="tanh"),
        nn.Tanh(),
        nn.Sigmoid(),
    ],
    ids=repr,
)
def test_slopes_by_formula_are_those_of_autograd(module: nn.Module) -> None:
    inputs = 4 * torch.randn(5, 7, 300, generator=torch.Generator().manual_seed(0))
    inputs[0, 0, :4] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf])
    found = known_slope(type(module), module.forward, inputs.mT)
    assert found is not None
    assert torch.equal(found.nan_to_num(7), slope(module.forward, inputs.mT).nan_to_num(7))


def test_of_other_activations_no_formula_is_known() -> None:
    assert known_slope(nn.Softplus, nn.Softplus().forward, torch.ones(3)) is None


class Handmade(torch.autograd.Function):
    """ReLU by hand, with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class Own(nn.Module):
    """An activation in a module of somebody's own."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def stacked(activation: nn.Module, checkpointed: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(6, 6), copy.deepcopy(activation)) for _ in range(3)]
    for layer in layers:
        layer[0].weight.data.mul_(5)
    blocks = [Checkpointed(layer) for layer in layers] if checkpointed else layers
    return nn.Sequential(*blocks, nn.Linear(6, 3))


class Checkpointed(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", checkpoint(super().forward, x, use_reentrant=False))


@pytest.mark.parametrize(
    ("own", "known"),
    [
        (Own(F.gelu), nn.GELU()),
        (Own(torch.relu_), nn.ReLU()),
        (Own(Handmade.apply), nn.ReLU()),
        (Own(lambda x: x * torch.sigmoid(x)), nn.SiLU()),
    ],
    ids=["one node", "in place", "a function of one's own", "several nodes"],
)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_slopes_of_an_own_activation_are_those_of_torchs(
    own: nn.Module, known: nn.Module, checkpointed: bool
) -> None:
    x, y = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)), torch.arange(5) % 3
    found = [gradflow.diagnose(stacked(a, checkpointed), x, y).records for a in (own, known)]
    for one, other in zip(*found, strict=True):
        assert one.saturated_fraction == other.saturated_fraction
        assert one.dead_fraction == other.dead_fraction
    assert found[0][2].saturated_fraction is not None
    assert found[0][1].saturated_fraction or found[0][2].saturated_fraction


class Sharper(nn.Module):
    """Attention by calls of one shape, each sharper than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for factor, part in enumerate(self.parts, start=1):
            x = x + F.scaled_dot_product_attention(part(x), x, x, scale=4.0**factor)
        return x


def test_each_layer_has_the_entropy_of_its_own_call() -> None:
    torch.manual_seed(0)
    model, inputs = Sharper(), torch.randn(4, 2, 6, 8)
    rows = gradflow.diagnose(model, inputs, loss=lambda y: y.square().mean()).records
    expected, x = [], inputs
    for factor, part in enumerate(model.parts, start=1):
        weights = (part(x) @ x.mT * 4.0**factor).softmax(-1)
        entropy = torch.special.entr(weights).sum(-1) / torch.tensor(6.0).log()
        expected.append(entropy.mean().item())
        x = x + weights @ x
    found = [row.attention_entropy for row in rows[:3]]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-6)
    assert found == sorted(found, reverse=True)
