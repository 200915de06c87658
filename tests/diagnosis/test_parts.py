"""Parts with an inside of their own: recurrent layers of torch, and attention."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import pack_padded_sequence

from gradflow import diagnose
from gradflow.measurement.recorder import measure
from gradflow.results.diagnosis import DiagnosisResult

STEPS = 40


def sequences(examples: int = 64, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Return noise whose first step alone tells the class."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(4, (examples,), generator=generator)
    inputs = 0.02 * torch.randn(examples, steps, 3, generator=generator)
    inputs[:, 0, 0], inputs[:, 0, 1] = (labels % 2) * 2.0 - 1, (labels // 2) * 2.0 - 1
    return inputs, labels


class Reader(nn.Module):
    """A recurrent layer and a head on its last state."""

    def __init__(self, kind: type[nn.RNNBase], forget: float = 0.0, units: int = 24) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner, self.head = kind(3, units, batch_first=True), nn.Linear(units, 4)
        with torch.no_grad():
            self.inner.bias_ih_l0.zero_()
            self.inner.bias_hh_l0.zero_()
            if isinstance(self.inner, nn.LSTM):
                self.inner.bias_ih_l0[units : 2 * units] = forget

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x)[0][:, -1])


def accuracy_after(model: nn.Module, steps: int = 60) -> float:
    inputs, labels = sequences()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return float((model(inputs).argmax(1) == labels).float().mean())


def test_a_half_open_forget_gate_vanishes_over_40_steps_and_does_not_learn_the_first() -> None:
    half, open_ = Reader(nn.LSTM), Reader(nn.LSTM, forget=4.0)
    vanishing, healthy = (diagnose(model, *sequences()) for model in (half, open_))
    assert vanishing.verdict == "vanishing"
    assert 0.5 < vanishing.step_rate < 0.7
    assert f"each step back keeps {100 * vanishing.step_rate:.3g} %" in vanishing.title
    assert healthy.verdict == "healthy", healthy.findings
    assert accuracy_after(half) < 0.6
    assert accuracy_after(open_) > 0.9


def test_sixteen_steps_are_a_warning_at_most() -> None:
    result = diagnose(Reader(nn.GRU), *sequences(steps=16))
    assert result.verdict == "healthy"
    assert [f.severity for f in result.findings if f.code == "vanishing"] == ["warning"]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_gradient_of_every_step_is_autograds(kind: type[nn.RNNBase]) -> None:
    model, (inputs, labels) = Reader(kind), sequences()
    result = diagnose(model, inputs, labels)
    leaf = inputs.clone().requires_grad_()
    F.cross_entropy(model(leaf), labels).backward()
    truth = leaf.grad.double().square().mean((0, 2)).sqrt().log10()
    seen = [row.input_delta_log10_rms for row in result.time_steps]
    torch.testing.assert_close(torch.tensor(seen).double(), truth, rtol=0, atol=1e-4)


class Packed(Reader):
    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.arange(len(x)) % 5 + 6
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.inner(packed)[1][-1])


def test_packed_sequences_and_layers_behind_an_embedding_are_read() -> None:
    result = diagnose(Packed(nn.GRU), *sequences(steps=10))
    assert [row.step for row in result.time_steps] == list(range(1, 11))
    words = nn.Sequential(nn.Embedding(9, 3), Reader(nn.LSTM))
    inputs = torch.arange(32 * 12).reshape(32, 12) % 9
    assert len(diagnose(words, inputs, torch.zeros(32).long()).time_steps) == 12


def test_saturated_gates_are_named() -> None:
    model, (inputs, labels) = Reader(nn.LSTM), sequences()
    with torch.no_grad():
        model.inner.weight_ih_l0.mul_(1e4)
    found = [f for f in diagnose(model, inputs, labels).findings if f.code == "saturated"]
    assert "output gate" in found[0].message


class Block(nn.Module):
    """Attention and two dense layers, each beside the stream or, without `residual`, alone."""

    def __init__(self, width: int = 32, heads: int = 4, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        q, k, v = (
            layer(h).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = self.residual * x + self.out(mixed.transpose(1, 2).flatten(2))
        return self.residual * x + self.narrow(F.gelu(self.wide(self.between(x))))


def language_model(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(30, 32), Block(), Block(), nn.Linear(32, 30))
    with torch.no_grad():
        for block in (model[1], model[2]):
            block.query.weight.mul_(scale)
            block.key.weight.mul_(scale)
    return model


def sentences() -> tuple[Tensor, Tensor]:
    words = torch.randint(30, (16, 20), generator=torch.Generator().manual_seed(0))
    return words, words.roll(1, 1)


def loss(output: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), targets.flatten())


def attention_of(result: DiagnosisResult) -> list[tuple[str, float, float]]:
    return [
        (row.name, row.attention_entropy, row.attention_saturated)
        for row in result.records
        if row.attention_entropy is not None
    ]


def test_attention_to_one_key_is_saturated_and_to_all_is_not() -> None:
    plain, sharp = (
        diagnose(language_model(scale), *sentences(), loss=loss) for scale in (1.0, 50.0)
    )
    assert [name for name, _, _ in attention_of(plain)] == ["1.value", "2.value"]
    assert all(entropy > 0.9 and flat < 0.1 for _, entropy, flat in attention_of(plain))
    assert all(entropy < 0.1 and flat > 0.75 for _, entropy, flat in attention_of(sharp))
    assert plain.verdict == "healthy"
    assert sharp.verdict == "saturated"


def test_the_entropy_is_that_of_the_weights() -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    model = nn.Sequential(nn.Linear(8, 8))
    x = torch.randn(3, 5, 8)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[1, 3:] = True
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    masks = {"attn_mask": causal, "key_padding_mask": mask}
    weights = layer(x, x, x, **masks, average_attn_weights=False)[1]
    keys = (weights > 0).sum(-1)
    entropy = -torch.special.xlogy(weights, weights).sum(-1) / keys.log()
    truth = entropy[keys > 1].mean().item()

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.first = layer, model[0]

        def forward(self, x: Tensor) -> Tensor:
            hidden = x + 0 * self.first(x)
            options = {**masks, "need_weights": False}
            return self.layer(hidden, hidden, hidden, **options)[0].sum()

    seen = attention_of(diagnose(Attends(), x, loss=lambda output: output))
    assert [name for name, _, _ in seen] == ["layer"]
    assert seen[0][1] == pytest.approx(truth, rel=1e-4)


def test_softmax_written_out_is_seen_and_that_of_classes_is_not() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.key, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            weights = torch.softmax(x @ self.key(x).mT / math.sqrt(8), -1)
            return self.head((weights @ x).mean(1)).softmax(-1)

    result = diagnose(Written(), torch.randn(6, 7, 8), torch.randint(3, (6,)))
    assert [name for name, _, _ in attention_of(result)] == ["key"]


def test_looking_at_parts_changes_no_gradient() -> None:
    model, (inputs, labels) = Reader(nn.LSTM), sequences()
    twin = copy.deepcopy(model)
    before = diagnose(model, inputs, labels)
    F.cross_entropy(twin(inputs), labels).backward()
    own = torch.cat([p.grad.flatten() for p in (twin.inner.weight_ih_l0, twin.inner.weight_hh_l0)])
    assert before.records[0].gradient_norm == pytest.approx(float(own.norm()), rel=1e-5)
    assert not inputs.requires_grad


def test_nothing_waits_for_the_device() -> None:
    model = language_model().to("meta")
    words = torch.empty(4, 20, dtype=torch.long, device="meta")
    assert measure(model, lambda: model(words).sum()).names[-1] == "all LayerNorm"


def deep(residual: bool) -> nn.Sequential:
    torch.manual_seed(1)
    blocks = [Block(residual=residual) for _ in range(8)]
    return nn.Sequential(nn.Embedding(30, 32), *blocks, nn.Linear(32, 30))


def test_attention_without_residual_connections_makes_all_tokens_the_same() -> None:
    with_, without = (diagnose(deep(r), *sentences(), loss=loss) for r in (True, False))
    assert "collapse" not in {f.code for f in with_.findings}
    assert "collapse" in {f.code for f in without.findings}
    spread = [row.token_spread for row in without.records if row.name.endswith("value")]
    assert spread[0] > 0.1
    assert spread[-1] < 1e-3 * spread[0]


def test_tokens_that_grow_alike_beside_residual_connections_are_no_finding() -> None:
    found = {}
    for residual in (True, False):
        model = deep(residual)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "value.weight" in name or "out.weight" in name:
                    weight.mul_(4)  # what attention adds, the mean of all tokens, outweighs them
        found[residual] = diagnose(model, *sentences(), loss=loss)
    alike = [row.token_spread for row in found[True].records if row.name.endswith("value")]
    assert alike[0] > 0.5
    assert alike[-1] < 0.15
    assert ["collapse" in {f.code for f in found[r].findings} for r in found] == [False, True]


def test_tokens_that_are_the_same_from_the_start_are_said() -> None:
    words = torch.zeros(16, 20, dtype=torch.long) + torch.arange(16).view(16, 1)
    result = diagnose(language_model(), words, words, loss=loss)
    assert "the tokens of an example are already nearly the same" in next(
        f.message for f in result.findings if f.code == "collapse"
    )


class Nodes(nn.Module):
    """Nodes of a graph that get what the others say through small weights, without attention."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.parts = nn.ModuleList(nn.Linear(16, 16) for _ in range(6))
        self.head = nn.Linear(16, 3)
        with torch.no_grad():
            for part in self.parts:
                part.weight.mul_(0.01)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = x + part(x.mean(1, keepdim=True) + x).relu()
        return self.head(x)


def test_nodes_without_attention_need_no_telling_apart() -> None:
    x, y = torch.randn(16, 10, 16), torch.randn(16, 10, 3)
    result = diagnose(Nodes(), x, y, loss=F.mse_loss)
    assert max(row.token_spread or 0 for row in result.records[:6]) < 0.05
    assert "collapse" not in {f.code for f in result.findings}


def test_tokens_that_are_no_number_are_broken_and_nothing_else() -> None:
    model = nn.Sequential(
        nn.Embedding(20, 16),
        nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True),
        nn.Linear(16, 20),
    )
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    tokens, target = torch.randint(20, (8, 6)), torch.randint(20, (8, 6))
    result = diagnose(
        model, tokens, target, loss=lambda y, t: F.cross_entropy(y.flatten(0, 1), t.flatten())
    )
    assert result.verdict == "broken"
    assert [f.code for f in result.findings if f.severity != "info"] == ["broken"]
