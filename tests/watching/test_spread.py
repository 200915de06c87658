"""How much the values of a batch differ between its examples."""

from __future__ import annotations

import math

import pytest
import torch

from gradflow.measurement.norms import as_tensor
from gradflow.watching.spread import ENTRIES, spread


def test_a_spread_is_the_rms_around_the_mean_and_the_rms() -> None:
    values = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(0)) + 3
    numbers = spread(values)
    assert numbers is not None
    rows = values.double()
    apart = rows.var(0, correction=0).mean().sqrt().item()
    expected = [apart, rows.square().mean().sqrt().item()]
    assert as_tensor(numbers).tolist() == pytest.approx(expected, rel=1e-12)


def test_of_long_examples_every_so_many_entries_are_read() -> None:
    values = torch.arange(2.0).unsqueeze(1).repeat(1, 3 * ENTRIES)
    assert list(spread(values) or ()) == pytest.approx([0.5, math.sqrt(0.5)])


def test_what_is_not_finite_is_said_and_single_examples_have_no_spread() -> None:
    numbers = spread(torch.tensor([[1.0], [math.inf]]))
    assert numbers is not None
    assert math.isnan(numbers[0])
    assert numbers[1] == math.inf
    assert spread(torch.ones(1, 3)) is None
    assert spread(torch.ones(2, 3, dtype=torch.complex64)) is None
