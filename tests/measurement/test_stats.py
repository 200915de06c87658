"""A tensor's statistics, against NumPy in float64 and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradflow.measurement import stats as of
from gradflow.measurement.stats import (
    below,
    count_nonzero,
    example_spread,
    l2_norm,
    largest,
    nonfinite_count,
    tensor_stats,
    token_spread,
)


def test_they_are_numpys() -> None:
    values = torch.randn(3, 17, 40, generator=torch.Generator().manual_seed(0)) + 2
    values[1, :5] = 0
    stats = tensor_stats(values)
    rows = values.double().numpy().reshape(3, -1)
    truth = {
        "mean": rows.mean(1),
        "variance": rows.var(1),
        "rms": np.sqrt((rows**2).mean(1)),
        "norm": np.linalg.norm(rows, axis=1),
        "mean_abs": np.abs(rows).mean(1),
        "abs_max": np.abs(rows).max(1),
        "zero_fraction": (rows == 0).mean(1),
    }
    for name, expected in truth.items():
        # float64 sums over 680 entries: 680 · 1.1e-16 at worst.
        np.testing.assert_allclose(getattr(stats, name), expected, rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_those_of_a_large_tensor_are_numpys_too(dtype: torch.dtype) -> None:
    values = (torch.randn(1, 3, 70_000, generator=torch.Generator().manual_seed(0)) + 1).to(dtype)
    values[0, 1, :999] = 0
    values[0, 2, 7] = -1e4
    stats, row = tensor_stats(values), values.double().numpy().reshape(-1)
    truth = {
        "mean": row.mean(),
        "norm": np.linalg.norm(row),
        "mean_abs": np.abs(row).mean(),
        "abs_max": np.abs(row).max(),
        "zero_fraction": (row == 0).mean(),
    }
    for name, expected in truth.items():
        np.testing.assert_allclose(getattr(stats, name), [expected], rtol=1e-12, err_msg=name)


def test_a_large_tensor_that_is_not_finite_has_no_finite_statistics() -> None:
    values = torch.zeros(1, 100_000)
    values[0, 5] = torch.nan
    stats = tensor_stats(values)
    assert all(torch.isnan(s) for s in (stats.mean, stats.norm, stats.mean_abs, stats.abs_max))
    assert stats.nonfinite_count.tolist() == [1]


def test_squares_do_not_underflow() -> None:
    tiny = torch.full((1, 100), 1e-30)
    assert float(l2_norm(tiny)) == pytest.approx(1e-29, rel=1e-6)  # 1e-30 itself is rounded
    assert float(torch.linalg.vector_norm(tiny)) == 0  # what float32 sums make of it


def test_non_finite_entries_are_counted() -> None:
    values = torch.tensor([[1.0, torch.nan, torch.inf], [1.0, 2.0, 3.0]])
    assert tensor_stats(values).nonfinite_count.tolist() == [2, 0]


def test_it_runs_on_meta_so_nothing_waits_for_the_device() -> None:
    stats = tensor_stats(torch.empty(2, 3, 4, device="meta"))
    assert stats.rms.device.type == "meta"
    assert stats.rms.shape == (2,)


@pytest.mark.parametrize(("entries", "copied"), [(2**15, True), (2**15 + 1, False)])
def test_few_entries_are_copied_once_for_all(entries: int, copied: bool) -> None:
    few = tensor_stats(torch.zeros(1, entries))._flat
    assert (few.dtype == torch.float64) is copied


@pytest.mark.parametrize(
    ("threads", "entries", "parts"),
    [
        (1, 2**15, None),
        (1, 2**15 + 1, [2**15, 1]),
        (2, 2**16, None),
        (2, 3 * 2**16, [2**16] * 3),
    ],
)
def test_large_tensors_are_summed_part_by_part(
    threads: int, entries: int, parts: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    seen: list[int] = []

    def total(part: torch.Tensor) -> float:
        assert part.dtype == torch.float64
        seen.append(part.numel())
        return 0.5

    found = of._by_parts(torch.zeros(1, entries), total)
    assert seen == (parts or [])
    assert (found is None) is (parts is None)
    if parts is not None:
        assert found is not None
        assert (found.dtype, found.tolist()) == (torch.float64, [0.5 * len(parts)])


@pytest.mark.parametrize(
    ("shape", "dtype", "device", "known"),
    [
        ((1, 70_000), torch.float32, "cpu", True),
        ((1, 70_000), torch.float16, "cpu", True),
        ((1, 70_000), torch.bfloat16, "cpu", True),
        ((1, 70_000), torch.float64, "cpu", False),
        ((2, 70_000), torch.float32, "cpu", False),
        ((1, 70_000), torch.float32, "meta", False),
    ],
)
def test_so_is_one_row_on_a_cpu_that_a_copy_would_widen(
    shape: tuple[int, int], dtype: torch.dtype, device: str, known: bool
) -> None:
    values = torch.zeros(shape, dtype=dtype, device=device)
    assert (of._by_parts(values, lambda part: 0.0) is not None) is known


def test_a_variance_is_never_below_0() -> None:
    # 0.1 is no double: the mean of its squares is less than its mean squared, by rounding.
    for value in (0.1, 0.3, 0.7, 1e8 + 0.1):
        assert tensor_stats(torch.full((1, 7), value, dtype=torch.float64)).variance.item() >= 0


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_largest_magnitude_may_be_negative(replicas: int) -> None:
    rows = torch.tensor([[1.0, -3.0, 2.0], [5.0, -4.0, 0.0]])[:replicas]
    assert largest(rows).tolist() == [3.0, 5.0][:replicas]
    assert largest(-rows).tolist() == [3.0, 5.0][:replicas]
    assert largest(rows).shape == (replicas,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.bool])
def test_entries_that_are_not_0_are_counted_row_by_row(dtype: torch.dtype) -> None:
    rows = torch.tensor([[0, 1, 1], [0, 0, 1]]).to(dtype)
    assert count_nonzero(rows).tolist() == [2, 1]
    assert count_nonzero(rows.to("meta")).shape == (2,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_below_is_strict(dtype: torch.dtype) -> None:
    values = torch.tensor([0.25, 0.5, 0.75], dtype=dtype)
    assert below(values, 0.5).tolist() == [True, False, False]
    assert below(values, torch.tensor(0.5)).tolist() == [True, False, False]
    assert below(values.to("meta"), 0.5).device.type == "meta"


def test_a_total_that_is_finite_spares_the_count() -> None:
    rows = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])
    assert nonfinite_count(rows).tolist() == [1, 0]
    assert nonfinite_count(rows, torch.tensor([torch.nan, 3.0])).tolist() == [1, 0]
    assert nonfinite_count(rows, torch.tensor([0.0, 3.0])).tolist() == [0, 0]
    # Entries may be finite where their sum is not.
    assert nonfinite_count(torch.full((1, 4), 3e38)).tolist() == [0]
    assert nonfinite_count(rows.to("meta")).device.type == "meta"
    assert nonfinite_count(torch.zeros(2, 3)).dtype == torch.int64


def test_spreads_are_the_share_that_is_not_the_mean() -> None:
    values = torch.tensor([[[3.0, 0.0], [1.0, 0.0]], [[2.0, 2.0], [2.0, 2.0]], [[0.0, 0.0]] * 2])
    assert example_spread(values).tolist() == pytest.approx([2 / 10, 0.0, 0.0])
    known = torch.tensor([2 * 10**0.5, 8.0, 0.0])  # as if the norm were twice as large
    assert example_spread(values, known).tolist() == pytest.approx([0.05, 0.0, 0.0])


def test_the_spread_of_tokens_is_that_of_the_first_four_examples() -> None:
    tokens = torch.tensor([[3.0, 0.0], [1.0, 0.0]])
    values = torch.zeros(1, 6, 2, 2)
    values[0, 3] = tokens  # the fourth
    assert token_spread(values).item() == pytest.approx(2 / 10)
    values[0, 4] = 100 * torch.eye(2)
    assert token_spread(values).item() == pytest.approx(2 / 10)
    assert token_spread(torch.zeros(1, 2, 2, 2)).item() == 0


def test_sums_run_in_float64_but_on_mps() -> None:
    assert of.accumulator(torch.device("cpu")) == torch.float64
    assert of.accumulator(torch.device("mps")) == torch.float32
