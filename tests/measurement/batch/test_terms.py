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
        (CROSS_ENTROPY + 0.1 * F.relu(2 * X).sum(), True),
        ((F.relu(0.9 - X).square().sum() + 5e-4 * F.mse_loss(2 * X, VALUES)) / 6, True),
        (F.mse_loss(2 * X, VALUES) - 0.01 * torch.logdet(X.T @ X), True),
    ],
)
def test_a_loss_says_whether_it_has_parts_beside_its_criterion(loss: Tensor, beside: bool) -> None:
    (term, *_) = terms_of(loss)
    assert term.beside is beside
