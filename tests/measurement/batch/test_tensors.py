"""What is read off a tensor."""

from __future__ import annotations

import pytest
import torch

from gradflow.measurement.batch.tensors import copied_columns, tensor_facts


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


def test_a_code_for_missing_values_is_found() -> None:
    x = torch.randn(32, 6)
    x[3, 1] = x[9, 2] = x[20, 1] = -9999.0
    assert tensor_facts(x).sentinel == -9999.0


@pytest.mark.parametrize(
    "entries",
    [
        [5000.5, 5000.5],  # measured
        [-9999.0],  # once
        [-9999.0, 9999.0],  # of either sign
        [20.0, 20.0],  # no farther than data may be
    ],
)
def test_large_numbers_are_no_codes(entries: list[float]) -> None:
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    x.flatten()[: len(entries)] = torch.tensor(entries)
    assert tensor_facts(x).sentinel is None


def test_a_mask_and_one_hot_rows_hold_no_codes() -> None:
    mask = torch.zeros(8, 8).masked_fill(torch.eye(8) == 1, -1e9)
    assert tensor_facts(mask).sentinel is None
    assert tensor_facts(torch.eye(8)).sentinel is None
