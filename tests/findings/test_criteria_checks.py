"""Outputs and labels that a criterion does not go with, each beside its mended form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.batches import facts_of, findings_of, said
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(32, 6, generator=_RANDOM)
TWO = torch.arange(32).remainder(2).float()


def net(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))


def message(model: nn.Module, run: Callable[[], Tensor], code: str) -> str:
    (found,) = [f for f in findings_of(facts_of(model, run)) if f.code == code]
    return found.message


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("cosine", lambda a, b, y: F.cosine_embedding_loss(a, b, y, 0.0)),
        ("margin ranking", lambda a, b, y: F.margin_ranking_loss(a[:, 0], b[:, 0], y)),
        ("hinge", lambda a, b, y: F.hinge_embedding_loss((a - b).square().sum(1), y)),
        ("soft margin", lambda a, b, y: F.soft_margin_loss(a[:, 0], y)),
    ],
)
def test_labels_are_signs_where_a_loss_takes_signs(
    name: str, loss: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    model = net(4)
    assert f"{name} " in message(model, lambda: loss(model(X), model(X + 1), TWO), "targets")
    assert "targets" not in said(model, lambda: loss(model(X), model(X + 1), 2 * TWO - 1))


@pytest.mark.parametrize(("what", "rate"), [("an exp", torch.exp), ("a softplus", F.softplus)])
def test_a_rate_is_not_exponentiated_twice(what: str, rate: Callable[[Tensor], Tensor]) -> None:
    model, counts = net(1), torch.poisson(torch.full((32, 1), 3.0), generator=_RANDOM)
    twice = message(model, lambda: F.poisson_nll_loss(rate(model(X)), counts), "output-activation")
    assert what in twice
    assert said(model, lambda: F.poisson_nll_loss(model(X), counts)) == {}
    once = said(model, lambda: F.poisson_nll_loss(rate(model(X)), counts, log_input=False))
    assert once == {}


def test_outputs_of_length_one_do_not_reach_targets_of_other_lengths() -> None:
    model, far = net(3), 5 * torch.randn(32, 3, generator=_RANDOM)

    def run(target: Tensor) -> Tensor:
        return F.mse_loss(F.normalize(model(X), dim=1), target)

    assert "a vector of length 1" in message(model, lambda: run(far), "output-activation")
    assert "output-activation" not in said(model, lambda: run(F.normalize(far, dim=1)))
    assert "output-activation" not in said(model, lambda: F.mse_loss(model(X), far))


@pytest.mark.parametrize("dims", [1, 2])
def test_channels_of_a_convolution_are_moved_before_they_are_rows(dims: int) -> None:
    kind = (nn.Conv1d, nn.Conv2d)[dims - 1]
    model = nn.Sequential(kind(3, 8, 3, padding=1), nn.ReLU(), kind(8, 4, 1))
    images = torch.randn(8, 3, *(6,) * dims)
    labels = torch.randint(0, 4, (8, *(6,) * dims))

    def rows() -> Tensor:
        return F.cross_entropy(model(images).view(-1, 4), labels.view(-1))

    def moved() -> Tensor:
        return F.cross_entropy(model(images).movedim(1, -1).reshape(-1, 4), labels.view(-1))

    assert "whose 4 classes come second" in message(model, rows, "shapes")
    assert "shapes" not in said(model, moved)
    assert "shapes" not in said(model, lambda: F.cross_entropy(model(images), labels))
    pooled = nn.Sequential(model, nn.Flatten())
    one = torch.randint(0, 4, (8,))
    assert "shapes" not in said(pooled, lambda: F.cross_entropy(pooled(images), one))


def test_classes_that_come_last_are_moved_and_not_seen_in_second_place() -> None:
    words, labels = torch.randn(8, 5, 6, generator=_RANDOM), torch.randint(0, 4, (8, 5))
    model = net(4)

    def loss(scores: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: F.cross_entropy(scores(model(words)), labels)

    assert "whose 4 classes come last" in message(model, loss(lambda s: s.view(8, 4, 5)), "shapes")
    assert "(8, 4, 5)" in message(model, loss(lambda s: s.reshape(8, 4, 5)), "shapes")
    for right in (lambda s: s.transpose(1, 2), lambda s: s.mT.contiguous().view(8, 4, 5)):
        assert "shapes" not in said(model, loss(right))
    assert "shapes" not in said(
        model, lambda: F.cross_entropy(model(words).view(-1, 4), labels.view(-1))
    )
    assert "shapes" not in said(
        model, lambda: F.cross_entropy(model(words[:, :1]).view(8, 4, 1), labels[:, :1])
    )
    square = torch.randint(0, 4, (8, 4))  # as many steps as classes: no other shape to see
    assert "shapes" not in said(
        model, lambda: F.cross_entropy(model(words[:, :4]).view(8, 4, 4), square)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_entropy_of_labels_has_its_error_and_is_not_that_of_weighted_classes(
    weighted: bool,
) -> None:
    torch.manual_seed(0)
    model, x, labels = nn.Linear(8, 3), torch.randn(400, 8), (torch.rand(400) < 0.1).long()
    weight = torch.tensor([1.0, 9.0, 1.0]) if weighted else None
    facts = facts_of(model, lambda: F.cross_entropy(model(x), labels, weight=weight))
    (criterion,) = facts.criteria
    assert criterion.labels == 2
    if weighted:
        assert criterion.label_entropy is criterion.label_entropy_error is None
        return
    share = labels.double().mean().item()
    logs = torch.where(labels == 1, share, 1 - share).log()
    assert criterion.label_entropy == pytest.approx(-logs.mean().item(), rel=1e-6)
    expected = logs.std(correction=0).item() / 400**0.5
    assert criterion.label_entropy_error == pytest.approx(expected, rel=1e-5)
