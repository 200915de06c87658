"""Sums of many replicas in float32 blocks: those in float64, however small, large or alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradflow.measurement.quantities import Sample, together
from gradflow.measurement.row_stats import RowStats, block_norms, has_row_stats
from gradflow.measurement.stats import TensorStats, example_spread

NAMES = ["mean", "norm", "variance", "rms", "mean_abs", "abs_max", "zero_fraction"]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def same_as_in_float64(values: Tensor, within: float = 2e-7) -> None:
    rows, exact = RowStats(values), TensorStats(values.double())
    for name in [*NAMES, "nonfinite_count"]:
        found, expected = getattr(rows, name), getattr(exact, name)
        assert found.dtype == expected.dtype, name
        torch.testing.assert_close(
            found, expected, rtol=within, atol=0.0, equal_nan=True, msg=lambda m, n=name: n + m
        )


def same_spread(values: Tensor) -> None:
    rows = RowStats(values)
    spread = example_spread(values.double())
    torch.testing.assert_close(rows.example_spread, spread, rtol=1e-4, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("units", [5, 512, 700])
def test_replicas_of_any_size_and_scale_are_those_of_sums_in_float64(units: int) -> None:
    scale = torch.tensor([1.0, 1e-42, 1e-30, 1e-12, 1e12, 1e30]).view(-1, 1, 1)
    values = (normal(6, 8, units) + 1) * scale
    values[0, :3] = 0
    same_as_in_float64(values)
    same_spread(values)


def test_replicas_beside_zeros_and_what_is_not_finite_are_themselves() -> None:
    values = normal(5, 8, 300) + 0.5
    values[1] = 0
    values[2, 1, 7] = torch.inf
    values[3, 2, 8] = torch.nan
    same_spread(values)
    values[4] = 3e38  # of which sums overflow in float32
    same_as_in_float64(values)


def test_what_differs_little_is_taken_in_float64() -> None:
    values = normal(3, 8, 300)
    values[1] = 1000 + values[1] * 0.01
    values[2] = values[2, :1] + 1e-4 * values[2]
    same_as_in_float64(values)
    same_spread(values)


def test_only_large_float32_tensors_of_several_replicas_on_a_cpu_are_summed_so() -> None:
    large = torch.ones(3, 2**16)
    assert has_row_stats(large)
    assert isinstance(Sample(large).stats, RowStats)
    for other in (large[:2], large.view(1, -1), large.double(), large.to("meta")):
        assert not has_row_stats(other)
        assert type(Sample(other).stats) is TensorStats


@pytest.mark.parametrize("turned", [False, True])
def test_gradients_are_read_as_they_lie_in_memory(turned: bool) -> None:
    gradient = normal(4, 6, 5).mT if turned else normal(4, 5, 6)
    rows = together([gradient], replicated=True)
    assert rows is not None
    assert rows.data_ptr() == gradient.data_ptr()  # no copy was made
    torch.testing.assert_close(block_norms(rows), gradient.double().flatten(1).norm(dim=1))
