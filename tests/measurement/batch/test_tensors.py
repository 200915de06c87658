"""What is read off a tensor."""

from __future__ import annotations

import pytest
import torch

from gradflow.measurement.batch.tensors import copied_columns


def test_columns_that_are_equal_in_every_row_are_found() -> None:
    x = torch.randn(16, 5)
    x[:, 3] = x[:, 1]
    assert copied_columns(x) == (1, 3)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(16, 5, generator=torch.Generator().manual_seed(0)),
        torch.zeros(16, 5),  # as a head that starts at 0 gives them
        torch.ones(16, 1) * torch.tensor([1.0, 1.0]),
        torch.arange(4.0)[:, None].expand(4, 3),  # too few rows
        torch.arange(16)[:, None].expand(16, 3),  # integers
        torch.zeros(16),
    ],
)
def test_columns_that_differ_or_are_constant_are_not(x: torch.Tensor) -> None:
    assert copied_columns(x) is None


def test_equal_entries_of_some_rows_are_no_copies() -> None:
    x = torch.randn(16, 4)
    x[:8, 2] = x[:8, 0]
    assert copied_columns(x) is None
