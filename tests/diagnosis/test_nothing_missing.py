"""Every trained entry has a row or a word, and the numbers are plain autograd's."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import diagnose, watch
from gradflow.errors import GradflowError
from gradflow.measurement.recorder import measure
from gradflow.results.diagnosis import DiagnosisResult


def autograds(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, float]:
    """Norm of every parameter's gradient by plain autograd."""
    model = copy.deepcopy(model)
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(loss(model), list(named.values()), allow_unused=True)
    return {n: float(g.norm()) for n, g in zip(named, grads, strict=True) if g is not None}


def together(norms: dict[str, float], *names: str) -> Any:
    return pytest.approx(math.hypot(*(norms[name] for name in names)), rel=1e-5)


def rows_of(result: DiagnosisResult) -> dict[str, Any]:
    return {row.name: row for row in result.records}


class Expert(nn.Module):
    """Matrices of its own beside a child, as a mixture of experts has them."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(2, 8, 8) * 0.3)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(torch.einsum("bi,kij->bj", x, self.up))


class Every(nn.Module):
    """Parameters in every place where they may stand."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.pos = nn.Parameter(torch.randn(1, 8))
        self.experts = Expert()
        self.lists = nn.ParameterList(nn.Parameter(torch.randn(8, 8) * 0.3) for _ in range(2))
        self.named = nn.ParameterDict({"out": nn.Parameter(torch.randn(8, 8) * 0.3)})
        self.first_norm, self.second_norm = nn.LayerNorm(8), nn.LayerNorm(8)
        self.aside = nn.Linear(8, 8)  # its weight is used without calling it
        self.complex = nn.Parameter(torch.randn(8, dtype=torch.cfloat) * 0.3)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor) -> Tensor:
        x = self.experts(self.words(words) + self.pos)
        x = self.first_norm(x @ self.lists[0] + x @ self.lists[1])
        x = self.second_norm(torch.relu(x @ self.named["out"]))
        x = F.linear(x, self.aside.weight, self.aside.bias)
        return self.head(x + (x * self.complex).abs())


def test_every_trained_entry_has_a_row() -> None:
    torch.manual_seed(0)
    model, words, labels = Every(), torch.randint(10, (6,)), torch.randint(3, (6,))
    norms = autograds(model, lambda m: F.cross_entropy(m(words), labels))
    result = diagnose(model, words, labels)
    rows = rows_of(result)
    assert list(rows)[:2] == ["experts", "head"]
    assert result.hidden == 1
    assert result.output.name == "head"
    for name, parts in {
        "experts": ["experts.up"],
        "head": ["head.weight"],
        "": ["pos", "complex"],
        "words": ["words.weight"],
        "lists": ["lists.0", "lists.1"],
        "named": ["named.out"],
        "aside": ["aside.weight"],
        "all LayerNorm": [f"{n}_norm.{p}" for n in ("first", "second") for p in ("weight", "bias")],
    }.items():
        assert rows[name].gradient_norm == together(norms, *parts), name
    assert rows["aside"].bias_gradient_norm == together(norms, "aside.bias")
    assert rows["experts"].delta_log10_rms is not None
    assert not [f for f in result.findings if f.code == "uncovered"]


class Mixing(nn.Module):
    """A matrix and a gain on the model itself, behind a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.mix = nn.Parameter(torch.randn(8, 8) * 0.3)
        self.gain = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tanh(self.first(x)) * self.gain) @ self.mix


def test_the_models_own_parameters_bear_the_name_of_its_class_in_words_and_tables() -> None:
    torch.manual_seed(0)
    model, x = Mixing(), torch.randn(16, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    with watch(model, optimizer=optimizer) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) + 1).square().mean().backward()
            optimizer.step()
    seen = watched.result()
    assert [row["name"] for row in seen.to_dict()["rows"]] == ["", "first"]  # as autograd names it
    assert "layer 1 (Mixing)" in seen.findings[0].message
    assert re.search(r"^1 +Mixing ", str(seen), re.MULTILINE)


def test_what_no_gradient_reaches_is_said_with_its_share() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
            self.spare = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.body(x)))

    result = diagnose(Part(), torch.randn(4, 8), torch.zeros(4, dtype=torch.long))
    (said,) = [f for f in result.findings if f.code == "uncovered"]
    share = 100 * (72 + 16) / (72 + 72 + 16 + 27)
    assert said.severity == "warning"
    assert said.message.startswith(f"{share:.2g} % of the trained entries")
    assert said.message.endswith(": spare")


def test_low_rank_matrices_beside_a_frozen_weight_are_the_row() -> None:
    class LoRA(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 8)
            self.low, self.high = nn.Parameter(torch.randn(2, 8)), nn.Parameter(torch.randn(8, 2))
            self.weight.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + x @ self.low.T @ self.high.T

    torch.manual_seed(0)
    model, x, labels = nn.Sequential(LoRA(), nn.Tanh(), nn.Linear(8, 3)), torch.randn(4, 8), None
    labels = torch.randint(3, (4,))
    norms = autograds(model, lambda m: F.cross_entropy(m(x), labels))
    first = diagnose(model, x, labels).records[0]
    assert first.gradient_norm == together(norms, "0.low", "0.high")
    assert first.bias_gradient_norm == together(norms, "0.bias")


def test_a_layer_that_returns_a_dataclass_has_its_delta() -> None:
    @dataclasses.dataclass
    class Output:
        hidden: Tensor

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Output:
            return Output(x @ self.kernel)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = Layer(), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.layer(x).hidden))

    rows = diagnose(Model(), torch.randn(4, 4), torch.zeros(4, dtype=torch.long)).records
    assert [row.name for row in rows] == ["layer", "head"]
    assert rows[0].delta_log10_rms is not None
    assert rows[0].activation_mean is not None


class _Inside(torch.autograd.Function):
    """Runs its module again in the backward pass, and calls backward() itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: nn.Module) -> Tensor:
        ctx.module = module
        ctx.save_for_backward(x)
        with torch.no_grad():
            return module(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.module(x).backward(gradients[0])
        return x.grad, None


def test_gradients_that_a_function_writes_itself_are_taken_and_put_back() -> None:
    class Reversible(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(_Inside.apply(torch.tanh(self.stem(x)), self.inner))

    torch.manual_seed(0)
    model, x, labels = Reversible(), torch.randn(4, 4), torch.randint(2, (4,))
    plain = copy.deepcopy(model)
    F.cross_entropy(plain(x), labels).backward()
    rows = rows_of(diagnose(model, x, labels))
    assert all(p.grad is None for p in model.parameters())
    for name in ("stem", "inner", "head"):
        norm = float(plain.get_submodule(name).weight.grad.norm())
        assert rows[name].gradient_norm == pytest.approx(norm, rel=1e-5)
        assert rows[name].delta_log10_rms is not None


def penalised(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()


def chain() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Sequential(nn.Linear(4, 8)), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 1)
    )


@pytest.mark.parametrize("tied", [False, True])
def test_a_chain_whose_loss_takes_gradients_or_looks_at_weights(tied: bool) -> None:
    model, x = chain(), torch.randn(16, 4, requires_grad=True)
    with torch.no_grad():
        model[1][0].weight.mul_(0.1)
    if tied:
        model.insert(2, model[1])
    caught: dict[str, Any] = {}
    model.register_forward_pre_hook(lambda _, inputs: caught.update(x=inputs[0]))

    def loss(out: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(out.sum(), caught["x"], create_graph=True)
        weights = sum(p.square().sum() for p in model.parameters())
        return out.mean() + 10 * (slope.norm(dim=1) - 1).square().mean() + 1e-3 * weights

    decay = lambda m: 1e-3 * sum(p.square().sum() for p in m.parameters())  # noqa: E731
    norms = autograds(model, lambda m: penalised(m, x) + decay(m))
    result = diagnose(model, x, loss=loss)
    for row in result.records:
        assert row.gradient_norm == pytest.approx(norms[f"{row.name}.weight"], rel=1e-5)


def test_rescaling_a_chain_of_chains_changes_no_gradient() -> None:
    model, x = chain(), torch.randn(16, 4)
    with torch.no_grad():
        model[1][0].weight.mul_(0.1)
    plain = measure(model, lambda: model(x).square().sum(), rescaled=False)
    scaled = measure(model, lambda: model(x).square().sum())
    names = list(plain.names)
    from gradflow.measurement.quantities import QUANTITIES

    norm, exponent = (QUANTITIES.index(n) for n in ("gradient_norm", "weight_exponent"))
    assert names == ["0.0", "1.0", "2"]
    true = scaled.values[:, norm, 0] * 2.0 ** scaled.values[:, exponent, 0]
    assert torch.allclose(true, plain.values[:, norm, 0], rtol=1e-6)


def test_the_update_ratio_is_of_the_loss_as_given() -> None:
    torch.manual_seed(0)
    model, x, labels = nn.Sequential(nn.Linear(4, 3)), torch.randn(8, 4), torch.randint(3, (8,))
    mean, total = (
        diagnose(model, x, labels, loss=nn.CrossEntropyLoss(reduction=r)).records[0]
        for r in ("mean", "sum")
    )
    assert total.gradient_norm == pytest.approx(mean.gradient_norm, rel=1e-5)
    assert total.update_ratio == pytest.approx(8 * mean.update_ratio, rel=1e-5)


def test_a_half_precision_model_with_a_float32_loss_is_named_by_its_own_dtype() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).half()
    result = diagnose(
        model,
        torch.randn(8, 8).half(),
        torch.randint(3, (8,)),
        loss=lambda out, labels: 1e-5 * F.cross_entropy(out.float(), labels),
    )
    (said,) = [f for f in result.findings if f.code == "underflow"]
    assert "0 in float16 though not in float32" in said.message


def test_a_module_without_values_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2, device="meta"))
    with pytest.raises(GradflowError, match=r"'2\.weight' is on the meta device"):
        diagnose(model, torch.randn(3, 4), torch.zeros(3, dtype=torch.long))


def test_a_module_whose_attributes_raise_is_measured() -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def __getattr__(self, name: str) -> Any:
            if name in ("fc", "_modules"):
                return super().__getattr__(name)
            raise RuntimeError(f"no {name}")

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    result = diagnose(Strict(), torch.randn(3, 4), torch.zeros(3, dtype=torch.long))
    assert [row.name for row in result.records] == ["fc"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_script_shows_gradients_and_says_so() -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(3, 4), torch.zeros(3, dtype=torch.long)
    inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    norms = autograds(inner, lambda m: F.cross_entropy(m(x), labels))
    result = diagnose(torch.jit.trace(inner, x), x, labels)
    for row in result.records:
        assert row.gradient_norm == pytest.approx(norms[f"{row.name}.weight"], rel=1e-5)
    assert [row.name for row in result.records] == ["0", "2"]
    assert any(f.code == "uncovered" and "script" in f.message for f in result.findings)


def test_an_activation_that_draws_numbers_leaves_the_pass_as_it_is() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.RReLU(), nn.Linear(8, 8), nn.RReLU(), nn.Linear(8, 2))
    x, labels = torch.randn(16, 4), torch.randint(2, (16,))
    torch.manual_seed(5)
    plain = F.cross_entropy(model(x), labels).item()
    torch.manual_seed(5)
    assert diagnose(model, x, labels).loss == pytest.approx(plain, rel=1e-6)


def test_a_zero_of_the_networks_own_is_not_run_again_in_float64() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
            self.gain = nn.Parameter(torch.zeros(4))
            self.dtypes: list[torch.dtype] = []

        def forward(self, x: Tensor) -> Tensor:
            SEEN.append(x.dtype)
            return self.head(x + self.gain * torch.tanh(self.body(x)))

    SEEN.clear()
    result = diagnose(Gated(), torch.randn(4, 4), torch.zeros(4, dtype=torch.long))
    assert rows_of(result)["body"].delta_log10_rms == -math.inf
    assert set(SEEN) == {torch.float32}


SEEN: list[torch.dtype] = []
