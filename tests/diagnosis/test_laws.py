"""A verdict is of the network: what cannot matter to its gradients' flow does not change it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import given
from hypothesis import strategies as st
from support.laws import tried
from torch import Tensor, nn
from torch.nn import functional

import gradflow

ACTIVATIONS = [nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU]


class Case(NamedTuple):
    """A network, and a batch of a regression."""

    network: nn.Sequential
    inputs: Tensor
    targets: Tensor


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A fully connected network with weights of any usual or unusual scale, in float64."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    depth, width = draw(st.integers(3, 8)), draw(st.integers(4, 24))
    activation = draw(st.sampled_from(ACTIVATIONS))
    gain = draw(st.sampled_from([0.1, 0.5, 1.0, 1.4, 3.0, 10.0]))
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    network = nn.Sequential(*layers, nn.Linear(width, 1)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            scale = gain / width**0.5 if parameter.dim() == 2 else 0.1
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * drawn)
    inputs = torch.randn(32, width, generator=generator, dtype=torch.float64)
    return Case(network, inputs, inputs[:, :1] - inputs[:, 1:2])


def found(case: Case, loss: Callable[..., Tensor] = functional.mse_loss) -> tuple[str, set[str]]:
    """The verdict, and the codes of all errors."""
    result = gradflow.diagnose(case.network, case.inputs, case.targets, loss=loss)
    return result.verdict, {f.code for f in result.findings if f.severity == "error"}


@tried(5)
@given(cases(), st.integers(-6, 6))
def test_the_loss_s_scale_does_not_matter(case: Case, power: int) -> None:
    """A power of two: every gradient is scaled exactly."""

    def scaled(output: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(output, targets) * 2.0**power

    assert found(case, scaled)[0] == found(case)[0]


@tried(5)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_batch_does_not_matter(case: Case, random: object) -> None:
    order = list(range(len(case.inputs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = Case(case.network, case.inputs[order], case.targets[order])
    assert found(shuffled) == found(case)


@tried(5)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_units_does_not_matter(case: Case, random: object) -> None:
    before = found(case)
    linears = [layer for layer in case.network if isinstance(layer, nn.Linear)]
    for layer, following in itertools.pairwise(linears):
        order = list(range(layer.out_features))
        random.shuffle(order)  # type: ignore[attr-defined]
        with torch.no_grad():
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
            following.weight.copy_(following.weight[:, order])
    assert found(case) == before


@tried(5)
@given(cases())
def test_float32_says_what_float64_says(case: Case) -> None:
    before = found(case)
    single = Case(case.network.float(), case.inputs.float(), case.targets.float())
    assert found(single) == before
