"""Of which criteria a loss is made, and whether it has other parts beside them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement.batch.terms import terms_of

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
LABELS, VALUES = torch.tensor([0, 1, 2, 0, 1, 2]), torch.linspace(-1, 1, 18).reshape(6, 3)
CROSS_ENTROPY = F.cross_entropy(2 * X, LABELS)


@pytest.mark.parametrize(
    ("loss", "beside"),
    [
        (CROSS_ENTROPY, False),
        (CROSS_ENTROPY / 4, False),
        (F.cross_entropy(2 * X, LABELS, label_smoothing=0.1), False),
        (F.mse_loss(2 * X, VALUES, reduction="sum") / 6, False),
        (((2 * X - VALUES) ** 2).mean(), False),
        (((2 * X - VALUES) ** 2).mean().sqrt(), True),  # no multiple of the mean square error
        (F.mse_loss(2 * X, VALUES) ** 0.5, True),
        (CROSS_ENTROPY + 0.1 * F.relu(2 * X).sum(), True),
        ((F.relu(0.9 - X).square().sum() + 5e-4 * F.mse_loss(2 * X, VALUES)) / 6, True),
        (F.mse_loss(2 * X, VALUES) - 0.01 * torch.logdet(X.T @ X), True),
    ],
)
def test_a_loss_says_whether_it_has_parts_beside_its_criterion(loss: Tensor, beside: bool) -> None:
    (term, *_) = terms_of(loss)
    assert term.beside is beside


@pytest.mark.parametrize(
    "loss",
    [
        (2 * X - VALUES).square().mean().sqrt(),
        (VALUES - 2 * X).square().mean() ** 0.5,
        (2 * X - VALUES).square().add(1e-6).sqrt().mean(),  # Charbonnier's
        torch.norm(2 * X - VALUES, p=2) / 6,
        (VALUES - 2 * X).norm(dim=1).mean(),
    ],
)
def test_a_root_of_squares_is_of_an_output_and_its_target(loss: Tensor) -> None:
    (term,) = terms_of(loss)
    assert (term.kind, term.sign, term.beside) == ("mse", 1, True)
    assert term.difference is not None
    assert torch.equal(term.difference, 2 * X.detach() - VALUES)


@pytest.mark.parametrize(
    "loss",
    [
        torch.norm(2 * X - VALUES, p=3),
        (2 * X - VALUES).square().mean() ** 0.25,
        (2 * X - VALUES).square().sum().log(),
        (2 * X - 3 * X.exp()).norm(dim=1).mean(),  # of two outputs
    ],
)
def test_of_other_powers_nothing_is_known(loss: Tensor) -> None:
    assert terms_of(loss) == []
