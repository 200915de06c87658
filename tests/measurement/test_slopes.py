"""Slopes of large inputs, and attention of several calls at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

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
