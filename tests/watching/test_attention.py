"""Attention in a watched loop: what `diagnose` says of the first batch, of an untrained network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from support.finding_examples import attending
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.findings.thresholds import FLAT, SATURATED_ATTENTION
from gradflow.results.watching import WatchResult
from gradflow.watching.checks import attention

WIDTH, CLASSES = 16, 5


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q @ k.mT) / WIDTH**0.5).softmax(-1) @ v


class Block(nn.Module):
    """Attention, as a function that is called with queries, keys and values."""

    def __init__(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.qkv, self.out, self.attend = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 8), attend

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attend(*self.qkv(x).chunk(3, -1)))


class Whole(nn.Module):
    """The same as a module of torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = (
            nn.MultiheadAttention(WIDTH, 2, batch_first=True),
            nn.Linear(WIDTH, 8),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(x, x, x, need_weights=False)[0])


KINDS: dict[str, Callable[[], nn.Module]] = {
    "by hand": lambda: Block(by_hand),
    "torch's function": lambda: Block(F.scaled_dot_product_attention),
    "torch's module": Whole,
}


def network(kind: str, factor: float = 1.0) -> nn.Module:
    """Return a classifier of sequences whose queries and keys are so many times as large."""
    torch.manual_seed(0)
    model = nn.Sequential(KINDS[kind](), nn.Flatten(), nn.Linear(6 * 8, CLASSES))
    first = next(p for p in model.parameters() if p.shape == (3 * WIDTH, WIDTH))
    with torch.no_grad():
        first[: 2 * WIDTH] *= factor
    return model


def batch(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 6, WIDTH, generator=generator)
    return x, (x[:, 0, :CLASSES]).argmax(1)


def watched(model: nn.Module, steps: int = 3, lr: float = 1e-3) -> WatchResult:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        for step in range(steps):
            x, y = batch(step + 1)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return watch.result()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_rows_are_those_of_a_diagnosis_of_the_first_batch(kind: str, factor: float) -> None:
    model = network(kind, factor)
    alone = gradflow.diagnose(copy.deepcopy(model), *batch())
    fields = ("attention_entropy", "attention_saturated")
    truth = {row.name: [getattr(row, field) for field in fields] for row in alone.records}
    for row in watched(model).records:
        assert [getattr(row, field) for field in fields] == truth[row.name]
    assert sum(entropy is not None for entropy, _ in truth.values()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_attention_that_sees_one_key_alone_is_said_as_diagnose_says_it(kind: str) -> None:
    sharp = network(kind, 200.0)
    said = [f.message for f in gradflow.diagnose(sharp, *batch()).findings if f.code == "saturated"]
    assert len(said) == 1
    assert [f.message for f in watched(sharp).findings if f.code == "saturated"] == said
    assert "saturated" not in {f.code for f in watched(network(kind)).findings}


@pytest.mark.parametrize(
    ("flat", "losses", "said"),
    [
        (SATURATED_ATTENTION, [(1.0, 1.0)], True),
        (SATURATED_ATTENTION - 1e-6, [(1.0, 1.0)], False),
        (1.0, [(FLAT, 1.0)], True),
        (1.0, [(FLAT - 1e-6, 1.0)], False),
        (1.0, [(30.0, 1.0), (0.5, 1.0)], False),
        (1.0, [(30.0, 1.0), (None, None)], True),
        (1.0, [(None, None)], False),  # not known whether it is trained
        (1.0, [(1.0, None)], False),
        (1.0, [(None, 1.0)], False),
    ],
)
def test_of_a_network_that_knows_no_more_than_a_constant(
    flat: float, losses: list[tuple[float | None, float | None]], said: bool
) -> None:
    found = [f.severity for f in attention(attending(flat, *losses))]
    assert found == (["error"] if said else [])


def test_less_than_an_error_is_not_said() -> None:
    model = network("by hand", 5.0)
    (warned,) = [f for f in gradflow.diagnose(model, *batch()).findings if f.code == "saturated"]
    assert warned.severity == "warning"
    assert "saturated" not in {f.code for f in watched(model).findings}


def test_a_trained_network_may_look_at_one_key() -> None:
    model = network("by hand", 200.0)
    for _ in range(3):
        watched(model, steps=60, lr=1e-2)
    x, y = batch()
    assert F.cross_entropy(model(x), y) < 0.9 * torch.tensor(float(CLASSES)).log()
    result = watched(model)
    assert max(row.attention_saturated or 0 for row in result.records) > 0.6
    assert "saturated" not in {f.code for f in result.findings}


def test_the_first_batch_that_was_learnt_from_is_told_of() -> None:
    model, other = network("by hand"), network("by hand", 30.0)
    expected = watched(copy.deepcopy(model)).records[0].attention_entropy
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        model(batch(9)[0])  # evaluated, with gradients
        F.cross_entropy(model(batch(1)[0]), batch(1)[1]).backward()
        optimizer.step()
        model.load_state_dict(other.state_dict())
        F.cross_entropy(model(batch(2)[0]), batch(2)[1]).backward()
        optimizer.step()
    assert watch.result().records[0].attention_entropy == expected


def test_what_cannot_be_read_of_attention_breaks_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gradflow.measurement.attention._softmax_logits", raises)
    result = watched(network("by hand"))
    assert {row.attention_entropy for row in result.records} == {None}
    assert result.facts.unread == ("ZeroDivisionError: division by zero",)
