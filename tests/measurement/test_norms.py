"""Norms of many tensors at once, against float64, and where float32 is not trusted."""

from __future__ import annotations

import math
from array import array

import pytest
import torch
from torch import Tensor

from gradflow.measurement import norms as of
from gradflow.measurement.norms import (
    NormReader,
    as_tensor,
    copies,
    differences,
    divided,
    norm,
    norms,
    read_norms,
    row_norms,
)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def truth(tensors: list[Tensor | None]) -> list[float]:
    """Return the norms in float64, −∞ for None."""
    return [-math.inf if t is None else float(t.detach().double().norm()) for t in tensors]


@pytest.mark.parametrize(
    "tensors",
    [
        [normal(3), normal(4, 5), torch.nn.Parameter(normal(2, 3, 4))],
        [normal(3), None, normal(4, 5), None],
        [None, normal(3).double(), normal(4, 5).double()],
        [normal(3), normal(3).double()],
        [normal(3).bfloat16(), None],
        [normal(2, 3).mT, normal(600, 600)],
        [None, None],
        [],
    ],
)
def test_norms_are_those_in_float64_in_their_places(tensors: list[Tensor | None]) -> None:
    # A sum of squares in float32 over 2¹⁸ entries is right to about 1e-7.
    assert as_tensor(read_norms(tensors)).tolist() == pytest.approx(truth(tensors), rel=1e-6)
    assert norms(tensors).tolist() == pytest.approx(truth(tensors), rel=1e-6)
    assert norms(tensors).dtype == torch.float64


def test_a_complex_norm_is_over_both_parts_and_a_sparse_ones_over_what_is_there() -> None:
    assert norms([torch.tensor([3 + 4j])]).tolist() == pytest.approx([5.0], rel=2**-22)
    sparse = torch.sparse_coo_tensor([[0, 0, 2]], [1.0, 2.0, 4.0], (5,), check_invariants=True)
    assert norms([sparse]).tolist() == pytest.approx([5.0], rel=2**-22)


def test_plain_float32_on_a_cpu_is_read_as_pythons_own() -> None:
    assert isinstance(read_norms([normal(3)]), array)
    assert isinstance(read_norms([torch.nn.Parameter(normal(3)), None]), array)
    assert isinstance(read_norms([normal(3).double()]), Tensor)
    assert isinstance(norm(normal(3)), array)
    assert isinstance(norm(normal(3).double()), Tensor)


@pytest.fixture
def widened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what is summed again in float64."""
    seen: list[int] = []
    wide = of._wide

    def spied(tensors: list[Tensor]) -> Tensor:
        seen.append(len(tensors))
        return wide(tensors)

    monkeypatch.setattr(of, "_wide", spied)
    return seen


@pytest.mark.parametrize(
    ("square", "again"),
    [(1.05e-30, []), (0.95e-30, [1]), (0.95e30, []), (1.05e30, [1]), (0.0, []), (1e-60, [1])],
)
def test_a_square_in_float32_is_trusted_between_its_bounds(
    square: float, again: list[int], widened: list[int]
) -> None:
    value = torch.tensor([math.sqrt(square)])
    assert list(read_norms([value])) == pytest.approx([value.double().item()], rel=1e-6)
    assert widened == again


def test_no_entries_have_a_norm_of_0(widened: list[int]) -> None:
    assert list(read_norms([torch.ones(0), torch.zeros(3)])) == [0.0, 0.0]
    assert widened == [1]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([2**18], [2**18]),
        ([2**18 + 1], [2**18, 1]),
        ([5], [5]),
        ([2**13 + 1, 5], [2**13 + 1, 5]),  # one small one alone
        ([2**13, 5], []),  # two small ones: at once
        ([5, 2**13 + 1, 7], [2**13 + 1]),
        ([], []),
    ],
)
def test_squares_of_large_tensors_are_summed_part_by_part(
    sizes: list[int], parts: list[int], dots: list[int]
) -> None:
    tensors = [torch.full((size,), 0.5 * at) for at, size in enumerate(sizes, start=1)]
    squares = [size * (0.5 * at) ** 2 for at, size in enumerate(sizes, start=1)]
    assert of._squares(tensors) == squares
    assert dots == parts


@pytest.mark.parametrize(
    ("value", "quick"),
    [(1.0, True), (1.02e-15, True), (0.98e-15, False), (0.98e15, True), (1.02e15, False)],
)
def test_rows_of_few_entries_are_read_at_once_where_float32_is_exact(
    value: float, quick: bool
) -> None:
    rows = torch.tensor([[3.0, 4.0], [value, 0.0]])
    found = row_norms(rows)
    assert isinstance(found, array) is quick
    assert as_tensor(found).tolist() == pytest.approx([5.0, value], rel=1e-6)
    assert row_norms(rows.double()).dtype == torch.float64


def test_one_norm_is_that_of_many() -> None:
    for tensor in (normal(2, 3), normal(2, 3).double(), normal(4).requires_grad_()):
        found = as_tensor(norm(tensor))
        assert found.shape == (1,)
        assert found.tolist() == pytest.approx(truth([tensor]), rel=1e-6)


@pytest.mark.parametrize("numbers", [array("d", [2.0, 6.0]), torch.tensor([2.0, 6.0])])
@pytest.mark.parametrize("scale", [4.0, torch.tensor(4.0)])
def test_numbers_over_a_number(numbers: of.Numbers, scale: Tensor | float) -> None:
    found = divided(numbers, scale)
    assert type(found) is type(numbers)
    assert list(found) == [0.5, 1.5]


def test_differences_are_old_minus_new_in_the_memory_of_the_old() -> None:
    old, new = (
        [torch.tensor([5.0]), torch.tensor([1.0])],
        [torch.tensor([2.0]), torch.tensor([4.0])],
    )
    found = differences(new, old)
    assert [t.item() for t in found] == [3.0, -3.0]
    assert found[0].data_ptr() == old[0].data_ptr()


def test_copies_are_not_changed_by_a_step() -> None:
    weight = torch.ones(2, requires_grad=True)
    (copy,) = copies([weight])
    weight.data.mul_(3)
    assert copy.tolist() == [1.0, 1.0]
    assert not copy.requires_grad


def test_a_reader_reads_what_changes_from_one_time_to_the_next() -> None:
    reader, large = NormReader(), normal(200, 200)
    taken: list[list[Tensor | None]] = [
        [normal(3), normal(4, 5), large],
        [2 * normal(3), normal(4, 5).mT.contiguous().mT, -large],
        [normal(3), None, large],
        [normal(5), normal(4, 5), large, torch.empty(0)],
        [normal(3).double(), normal(4, 5)],
        [1e-25 * normal(3), 0 * normal(4), torch.tensor([1e25, 1.0])],
        [torch.tensor([1.0, math.inf]), torch.tensor([math.nan, 1.0]), normal(3)],
        [torch.nn.Parameter(normal(3)), torch.nn.Parameter(normal(4, 5))],
    ]
    for tensors in taken * 2:
        found = as_tensor(reader.read(tensors)).tolist()
        assert found == pytest.approx(truth(tensors), rel=1e-6, nan_ok=True)


def test_what_a_reader_has_read_is_not_changed_and_takes_no_part_in_a_graph() -> None:
    reader = NormReader()
    tensors: list[Tensor | None] = [torch.nn.Parameter(normal(3)), torch.nn.Parameter(normal(4))]
    with torch.inference_mode():
        first = reader.read(tensors)
    assert reader.read(tensors) == first
    assert tensors[0] is not None
    assert torch.equal(tensors[0], normal(3))
