"""Slopes and dead units: exact numbers."""

from __future__ import annotations

import math

import pytest
import torch
from support.doubled import Doubled
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement import slopes as of
from gradflow.measurement.slopes import (
    dead_units,
    has_formula,
    known_slope,
    max_slope,
    node_of,
    saturated,
    slope_at,
    slope_by_parts,
)


def test_the_largest_slope_is_looked_for_from_minus_8_to_8() -> None:
    seen: list[Tensor] = []

    def function(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return -(x**2)

    largest = max_slope(function, torch.ones((), dtype=torch.float64))
    assert largest.item() == 16.0
    (grid,) = seen
    assert (len(grid), grid[0], grid[-1], grid.dtype) == (4001, -8.0, 8.0, torch.float64)


def test_a_slope_is_saturated_below_a_hundredth_of_the_largest() -> None:
    slopes = torch.tensor([0.0, 0.0199, 0.0201, 2.0], dtype=torch.float64)
    largest = torch.tensor(2.0, dtype=torch.float64)
    assert saturated(slopes, largest).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("entries", "parts"), [(2**15, [2**15]), (2**15 + 1, [2**15, 1])])
def test_slopes_of_many_entries_are_taken_part_by_part(entries: int, parts: list[int]) -> None:
    seen: list[int] = []

    def function(x: Tensor) -> Tensor:
        seen.append(x.numel())
        return x * 3

    assert slope_by_parts(function, torch.zeros(entries)).unique().tolist() == [3.0]
    assert seen == parts


@pytest.mark.parametrize("largest", [None, torch.tensor(2.0)])
@pytest.mark.parametrize(
    ("low", "high", "relative", "exact"),
    [
        (0.0, 0.0, True, True),
        (-1.9e-6, 1.9e-6, True, False),
        (0.0, 2.1e-6, False, False),
        (-2.1e-6, 0.0, False, False),
        (0.0, 1e-9, True, False),
        (-1e-9, 0.0, True, False),
    ],
)
def test_a_unit_is_dead_below_a_millionth_of_the_largest_slope(
    low: float, high: float, relative: bool, exact: bool, largest: Tensor | None
) -> None:
    slopes = torch.tensor([[[low, 1.0], [high, 0.0]]])
    assert dead_units(slopes, None, largest).tolist() == [
        [exact if largest is None else relative, False]
    ]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_unit_with_just_a_millionth_is_alive(sign: float) -> None:
    largest = torch.tensor(2.0)
    slopes = torch.zeros(1, 3, 2)
    slopes[0, 1, 0] = sign * of.DEAD_SLOPE * largest
    assert dead_units(slopes, None, largest).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (nn.Conv2d(1, 1, 1), (2, 3, 4, 5, 6), 2),
        (nn.Conv1d(1, 1, 1), (2, 3, 4, 5), 2),
        (nn.Conv1d(1, 1, 1), (2, 3, 4), 2),  # without positions, the last
        (nn.Linear(1, 1), (2, 3, 4, 5), 3),
        (None, (2, 3, 4), 2),
    ],
)
def test_a_unit_is_a_channel_after_a_convolution_and_else_the_last_axis(
    layer: nn.Module | None, shape: tuple[int, ...], axis: int
) -> None:
    slopes = torch.ones(shape)
    slopes.select(axis, 1)[1] = 0  # of the second replica
    found = dead_units(slopes, layer)
    assert found.shape == (shape[0], shape[axis])
    assert found.nonzero().tolist() == [[1, 1]]
    assert dead_units(slopes[:, :0], layer).shape == found.shape


def test_a_single_example_may_have_no_axis_of_its_own() -> None:
    assert dead_units(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), None).tolist() == [
        [True, False],
        [False, True],
    ]


#: Elsewhere the node of an activation that ran is never asked, which is slower.
tells_hooks = pytest.mark.skipif(
    not hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"),
    reason="torch 2.6 does not say whether saved tensors are hooked",
)


@tells_hooks
def test_the_node_that_made_the_inputs_is_known_where_no_hook_counts() -> None:
    x = torch.ones(3, requires_grad=True)
    assert node_of(x) is None
    first, second = (x * 2).unbind()[:2]
    assert node_of(first) == (first.grad_fn, 0)
    assert node_of(second) == (second.grad_fn, 1)
    with saved_tensors_hooks(lambda t: t, lambda t: t):
        assert node_of(first) is None


@tells_hooks
def test_slopes_are_read_off_the_node_that_ran() -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True) * 1
    before = node_of(x)
    found = slope_at(torch.tanh(x), before)
    torch.testing.assert_close(found, 1 - torch.tanh(x.detach()) ** 2)
    assert slope_at(torch.tanh(x), None) is None
    assert slope_at(torch.tanh(x * 1), before) is None
    assert slope_at(torch.tanh(x).detach(), before) is None


def test_a_function_of_ones_own_is_not_run_again() -> None:
    x = torch.ones(2, requires_grad=True) * 1
    assert slope_at(Doubled.apply(x), node_of(x)) is None


@pytest.mark.parametrize(
    "function",
    [torch.relu, F.relu, torch.tanh, torch.sigmoid, F.silu, F.hardswish],
    ids=lambda f: f.__name__,
)
def test_slopes_by_formula_of_functions_are_those_of_autograd(function: of.Function) -> None:
    x = torch.linspace(-5, 5, 101)
    assert has_formula(function)
    assert not has_formula(math.tanh)
    found = known_slope(function, function, x)
    assert found is not None
    torch.testing.assert_close(found, of.slope(function, x), rtol=0, atol=0)
    assert not found.requires_grad
