"""A tensor's statistics, against NumPy in float64 and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradflow.measurement.stats import l2_norm, tensor_stats


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
