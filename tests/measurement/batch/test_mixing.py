"""Examples that depend on each other through a model, and models in which that is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.batches import facts_of, said
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_RANDOM = torch.Generator().manual_seed(0)
FLAT = torch.randn(16, 6, generator=_RANDOM)
BATCH_FIRST = torch.randn(16, 9, 6, generator=_RANDOM)
TIME_FIRST = torch.randn(9, 16, 6, generator=_RANDOM)
WORDS = torch.randint(0, 11, (16, 9), generator=_RANDOM)
IMAGES = torch.randn(16, 3, 8, 8, generator=_RANDOM)
LABELS = torch.randint(0, 3, (16,), generator=_RANDOM)
EDGES = torch.randint(0, 16, (2, 40), generator=_RANDOM)
NEIGHBOURS = torch.rand(16, 16, generator=_RANDOM)


class Made(nn.Module):
    """A model whose forward pass is a function of itself and its inputs."""

    def __init__(self, run: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(self, *inputs)


def mixes(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    target: Tensor = LABELS,
    loss: Callable[..., Tensor] = F.cross_entropy,
) -> str | None:
    """What mixes the examples in the only criterion."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    (criterion,) = facts_of(model, lambda: loss(model(*given), target)).criteria
    return None if criterion.mixing is None else criterion.mixing.how


def last(m: Any, x: Tensor) -> Tensor:
    answer: Tensor = m.out(m.inner(x)[0][:, -1])
    return answer


def cells_along_the_batch(m: Any, words: Tensor) -> Tensor:
    x, h, states = m.embed(words), torch.zeros(9, 7), []
    for i in range(len(x)):
        h = m.cell(x[i], h)
        states.append(h)
    return m.out(torch.stack(states)[:, -1])


out = nn.Linear(7, 3)


@pytest.mark.parametrize(
    ("how", "model", "inputs"),
    [
        (
            "Softmax",
            Made(
                lambda m, x: m.out((m.score(x).softmax(0) * x).sum(1)),
                score=nn.Linear(6, 1),
                out=nn.Linear(6, 3),
            ),
            BATCH_FIRST,
        ),
        ("Recurrence", Made(last, inner=nn.GRU(6, 7), out=out), BATCH_FIRST),
        ("Recurrence", Made(last, inner=nn.RNN(6, 7, 2), out=out), BATCH_FIRST),
        ("Recurrence", Made(last, inner=nn.LSTM(6, 7, 2), out=out), BATCH_FIRST),
        (
            "Recurrence",
            Made(cells_along_the_batch, embed=nn.Embedding(11, 6), cell=nn.GRUCell(6, 7), out=out),
            WORDS,
        ),
        (
            "Attention",
            Made(
                lambda m, x: m.out(m.inner(x, x, x)[0].mean(1)),
                inner=nn.MultiheadAttention(6, 2),
                out=nn.Linear(6, 3),
            ),
            BATCH_FIRST,
        ),
        (
            "Attention",
            Made(
                lambda m, x: m.out(m.inner(x).mean(1)),
                inner=nn.TransformerEncoderLayer(6, 2, 12),
                out=nn.Linear(6, 3),
            ),
            BATCH_FIRST,
        ),
        (
            "View",
            Made(
                lambda m, x: m.out(m.inner(x)[0].reshape(16, -1)),
                inner=nn.GRU(6, 7),
                out=nn.Linear(63, 3),
            ),
            TIME_FIRST,
        ),
        (
            "View",
            Made(
                lambda m, x: last(m, x.reshape(16, 9, 6)),
                inner=nn.LSTM(6, 7, batch_first=True),
                out=out,
            ),
            TIME_FIRST,
        ),
        (
            "NativeLayerNorm",
            nn.Sequential(nn.Linear(6, 8), nn.LayerNorm([16, 8]), nn.Linear(8, 3)),
            FLAT,
        ),
    ],
)
def test_what_runs_along_the_examples_is_told(how: str, model: nn.Module, inputs: Tensor) -> None:
    assert mixes(model, inputs) == how
    found = said(model, lambda: F.cross_entropy(model(inputs), LABELS))
    assert found.get("mixed") == "warning"


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), FLAT),
        (
            Made(
                lambda m, x: m.out((m.a(x) - m.a(x).mean(0)) / m.a(x).std(0)),
                a=nn.Linear(6, 8),
                out=nn.Linear(8, 3),
            ),
            FLAT,
        ),
        (Made(last, inner=nn.GRU(6, 7, 2, batch_first=True), out=out), BATCH_FIRST),
        (Made(last, inner=nn.LSTM(6, 7, batch_first=True), out=out), BATCH_FIRST),
        (Made(lambda m, x: m.out(m.inner(x)[0][-1]), inner=nn.GRU(6, 7), out=out), TIME_FIRST),
        (Made(lambda m, x: m.out(m.inner(x)[0][-1]), inner=nn.LSTM(6, 7), out=out), TIME_FIRST),
        (
            Made(
                lambda m, x: m.out((m.score(x).softmax(0) * x).sum(0)),
                score=nn.Linear(6, 1),
                out=nn.Linear(6, 3),
            ),
            TIME_FIRST,
        ),
        (
            Made(
                lambda m, x: m.out(m.inner(x).mean(1)),
                inner=nn.TransformerEncoderLayer(6, 2, 12, batch_first=True),
                out=nn.Linear(6, 3),
            ),
            BATCH_FIRST,
        ),
        (
            Made(
                lambda m, x: m.out(m.inner(x, x, x)[0].mean(0)),
                inner=nn.MultiheadAttention(6, 2),
                out=nn.Linear(6, 3),
            ),
            TIME_FIRST,
        ),
        (
            Made(
                lambda m, x: m.out(m.inner(x.flatten(0, 1)).view(16, 9, -1).mean(1)),
                inner=nn.Linear(6, 7),
                out=out,
            ),
            BATCH_FIRST,
        ),
        (
            nn.Sequential(
                nn.Conv2d(3, 4, 3),
                nn.InstanceNorm2d(4),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.GroupNorm(2, 4),
                nn.Flatten(),
                nn.Linear(36, 3),
            ),
            IMAGES,
        ),
        (
            Made(
                lambda m, x: m.out(NEIGHBOURS @ m.a(x).relu()),
                a=nn.Linear(6, 8),
                out=nn.Linear(8, 3),
            ),
            FLAT,
        ),
        (
            Made(
                lambda m, x: m.out(torch.sparse.mm(NEIGHBOURS.to_sparse(), m.a(x).relu())),
                a=nn.Linear(6, 8),
                out=nn.Linear(8, 3),
            ),
            FLAT,
        ),
        (
            Made(
                lambda m, x: m.out(torch.zeros(16, 8).index_add(0, EDGES[0], m.a(x)[EDGES[1]])),
                a=nn.Linear(6, 8),
                out=nn.Linear(8, 3),
            ),
            FLAT,
        ),
        (
            Made(
                lambda m, x: m.out((m.a(x) + m.b(x).t()).softmax(1) @ m.v(x)),
                a=nn.Linear(6, 1),
                b=nn.Linear(6, 1),
                v=nn.Linear(6, 8),
                out=nn.Linear(8, 3),
            ),
            FLAT,
        ),
        (
            Made(
                lambda m, x: m.q(x).softmax(1) @ (m.k(x).softmax(0).t() @ m.v(x)),
                q=nn.Linear(6, 4),
                k=nn.Linear(6, 4),
                v=nn.Linear(6, 3),
            ),
            FLAT,
        ),
    ],
)
def test_of_what_is_right_or_meant_nothing_is_said(model: nn.Module, inputs: Tensor) -> None:
    assert mixes(model, inputs) is None


def test_pairs_of_examples_in_the_loss_are_meant() -> None:
    model = nn.Linear(6, 8)

    def loss(codes: Tensor, same: Tensor) -> Tensor:
        codes = F.normalize(codes, dim=1)
        return F.cross_entropy(codes @ codes.t() / 0.1, same)

    assert mixes(model, FLAT, torch.arange(16), loss) is None


def test_a_list_that_is_ranked_is_one_example() -> None:
    model = nn.Sequential(nn.Linear(6, 1), nn.Softmax(0))
    assert mixes(model, FLAT, torch.rand(16, 1), F.mse_loss) is None


@pytest.mark.parametrize("target", [torch.randn(9, 16), torch.randn(9, 16, 1)])
def test_a_target_for_each_time_step_does_not_make_time_the_examples(target: Tensor) -> None:
    model = Made(
        lambda m, x: m.out(m.inner(x)[0]).reshape(target.shape),
        inner=nn.GRU(6, 7),
        out=nn.Linear(7, 1),
    )
    assert mixes(model, TIME_FIRST, target, F.mse_loss) is None


@pytest.mark.parametrize("inputs", [torch.randn(16, 5), torch.randn(16, 1, 5)])
def test_one_sequence_without_a_batch_may_have_a_recurrence(inputs: Tensor) -> None:
    model = Made(lambda m, x: m.out(m.inner(x)[0].view(16, 7)), inner=nn.GRU(5, 7), out=out)
    assert mixes(model, inputs) is None


def test_where_two_axes_are_equally_long_it_is_not_sure() -> None:
    model = Made(lambda m, x: m.out(m.a(x).mean(0)), a=nn.Linear(6, 7), out=out)
    inputs = torch.randn(16, 16, 6)
    (criterion,) = facts_of(model, lambda: F.cross_entropy(model(inputs), LABELS)).criteria
    assert criterion.mixing is not None
    assert not criterion.mixing.sure
    assert "mixed" not in said(model, lambda: F.cross_entropy(model(inputs), LABELS))
