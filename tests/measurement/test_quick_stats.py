"""Statistics in float32 sums, against those in float64, also where float32 would lose something."""

from __future__ import annotations

import math

import pytest
import torch
from support.doubled import Doubled
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement import quick_stats
from gradflow.measurement.quick_stats import QuickStats, is_quick, sum_of_squares
from gradflow.measurement.slopes import dead_units, slope
from gradflow.measurement.stats import example_spread, tensor_stats, token_spread

NAMES = [
    "mean",
    "norm",
    "variance",
    "rms",
    "mean_abs",
    "abs_max",
    "zero_fraction",
    "nonfinite_count",
]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def same_as_in_float64(values: Tensor) -> None:
    quick, exact = QuickStats(values), tensor_stats(values)
    for name in NAMES:
        found, expected = getattr(quick, name), float(getattr(exact, name))
        assert found == pytest.approx(expected, rel=1e-6, nan_ok=True), name


@pytest.mark.parametrize("size", [40, 100_000])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-42, 1e30])
def test_they_are_those_of_sums_in_float64(size: int, scale: float) -> None:
    values = (normal(1, 3, size) + 1) * scale
    values[0, 1, :30] = 0
    same_as_in_float64(values)


def test_a_small_variance_about_a_large_mean_is_kept() -> None:
    same_as_in_float64(1000 + normal(1, 7, 300) * 0.01)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e38])
def test_what_is_not_finite_is_counted_and_what_squares_to_it_is_not(wrong: float) -> None:
    values = normal(1, 3, 50)
    values[0, 1, 2] = values[0, 2, 7] = wrong
    same_as_in_float64(values)


def test_entries_are_read_in_any_order_of_memory() -> None:
    same_as_in_float64(normal(2, 5, 4, 3).permute(3, 0, 2, 1)[:1])
    same_as_in_float64(normal(1, 5, 4).mT)
    same_as_in_float64(normal(1, 5, 1).expand(1, 5, 8))


@pytest.mark.parametrize("shared", [0.0, 1.0, 1e3])
def test_spreads_are_exact_however_small(shared: float) -> None:
    values = normal(1, 6, 5, 7) + shared * normal(1, 1, 1, 7)
    quick = QuickStats(values)
    assert quick.example_spread == pytest.approx(float(example_spread(values.double())), rel=1e-4)
    assert quick.token_spread == pytest.approx(float(token_spread(values.double())), rel=1e-4)


def test_the_spread_of_equal_examples_is_0() -> None:
    assert QuickStats(normal(1, 1, 9).expand(1, 4, 9)).example_spread == 0
    assert QuickStats(torch.zeros(1, 4, 9)).example_spread == 0


def test_only_one_plain_float32_tensor_on_a_cpu_is_read_so() -> None:
    assert is_quick(torch.ones(1, 3))
    assert not is_quick(torch.ones(2, 3))
    assert not is_quick(torch.ones(1, 3).double())
    assert not is_quick(torch.ones(1, 3, device="meta"))
    assert not is_quick(torch.eye(1).to_sparse())


def test_slopes_are_autograds_of_one_formula_of_several_and_of_ones_own() -> None:
    x = normal(3, 40)
    torch.testing.assert_close(slope(torch.tanh, x), 1 - torch.tanh(x).square())
    assert torch.equal(slope(torch.relu_, x), (x > 0).float())
    torch.testing.assert_close(slope(lambda v: v * torch.sigmoid(v), x), slope(F.silu, x))
    assert torch.equal(slope(Doubled.apply, x), torch.full_like(x, 2))


def test_units_without_slope_are_told_and_of_no_example_all_are() -> None:
    slopes = normal(1, 5, 4).abs()
    slopes[0, :, 1] = 1e-9
    assert dead_units(slopes, None, torch.tensor(1.0)).tolist() == [[False, True, False, False]]
    assert dead_units(slopes[:, :0], None).tolist() == [[True] * 4]


def exactly(values: Tensor, name: str) -> bool:
    """Return whether a statistic was taken in float64 after all."""
    stats = QuickStats(values)
    getattr(stats, name)
    return "_exact" in vars(stats)


@pytest.mark.parametrize(
    ("square", "exact"), [(1.05e-30, False), (0.95e-30, True), (0.95e30, False), (1.05e30, True)]
)
def test_a_sum_of_squares_is_trusted_between_its_bounds(square: float, exact: bool) -> None:
    values = torch.tensor([[math.sqrt(square)]])
    assert exactly(values, "norm") is exact
    assert QuickStats(values).norm == pytest.approx(math.sqrt(square), rel=1e-6)


def test_zeros_and_sums_that_are_finite_need_no_float64() -> None:
    for name in NAMES:
        assert not exactly(torch.zeros(1, 3), name), name
        assert not exactly(torch.tensor([[1.0, -2.0]]), name), name
    assert exactly(torch.tensor([[1e-30]]), "norm")  # its square is 0
    assert exactly(torch.full((1, 4), 3e38), "mean")
    assert exactly(torch.full((1, 4), 3e38), "mean_abs")


@pytest.mark.parametrize(("share", "exact"), [(0.011, False), (0.009, True)])
def test_a_variance_that_is_a_small_share_of_the_square_is_taken_again(
    share: float, exact: bool
) -> None:
    apart = math.sqrt(share / (1 - share))
    values = torch.tensor([[1 - apart, 1 + apart]])
    assert exactly(values, "variance") is exact
    assert QuickStats(values).variance == pytest.approx(apart**2, rel=1e-4)


@pytest.mark.parametrize(("share", "known"), [(0.011, True), (0.009, False)])
def test_so_is_a_small_spread(share: float, known: bool) -> None:
    apart = math.sqrt(share / (1 - share))
    values = torch.tensor([[[1 - apart], [1 + apart]]])
    stats = QuickStats(values)
    found = stats._apart(values, stats.norm, 1)
    assert (found is not None) is known
    assert found is None or found == pytest.approx(share, rel=1e-4)
    assert stats.example_spread == pytest.approx(share, rel=1e-4)
    assert stats._apart(values, 0.0, 1) is stats._apart(values, math.inf, 1) is None


def test_the_spread_of_tokens_is_that_of_the_first_four_examples() -> None:
    for examples in (3, 4, 5):
        values = normal(1, examples, 3, 2)
        expected = float(token_spread(values.double()))
        assert QuickStats(values).token_spread == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("entries", "parts"), [(2**15, [2**15]), (2**15 + 1, [2**15, 1]), (3, [3])]
)
def test_squares_are_summed_part_by_part(entries: int, parts: list[int], dots: list[int]) -> None:
    assert sum_of_squares(torch.full((entries,), 2.0)) == 4 * entries
    assert dots == parts


def test_statistics_of_nothing_are_not_a_number() -> None:
    nothing = QuickStats(torch.ones(1, 0))
    assert all(math.isnan(getattr(nothing, name)) for name in ("mean", "mean_abs"))


def test_exact_numbers() -> None:
    stats = QuickStats(torch.tensor([[0.0, -3.0, 4.0, 0.0]]))
    assert [getattr(stats, name) for name in NAMES] == [0.25, 5.0, 6.1875, 2.5, 1.75, 4.0, 0.5, 0.0]
    lost = QuickStats(torch.tensor([[torch.nan, 1.0, torch.inf, -torch.inf]]))
    assert lost.nonfinite_count == 3.0


def test_entries_are_read_as_they_lie_in_memory_without_a_copy() -> None:
    turned = normal(1, 5, 4).mT
    assert QuickStats(turned)._flat.data_ptr() == turned.data_ptr()
    assert QuickStats(normal(1, 5, 8)[:, :, :3])._flat.shape == (15,)
    assert quick_stats._in_memory_order(normal(1, 6)).shape == (6,)


def test_parameters_are_plain_and_subclasses_are_not() -> None:
    class Own(Tensor):
        """Somebody's own."""

    assert is_quick(torch.nn.Parameter(torch.ones(1, 3)))
    assert not is_quick(torch.ones(1, 3).as_subclass(Own))
