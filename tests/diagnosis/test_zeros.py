"""What is exactly 0: a fault where it stays so, context where one step ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis import user_module
from gradflow.results.diagnosis import DiagnosisResult


def task(examples: int = 128) -> tuple[Tensor, Tensor]:
    """Return four classes that a line tells apart."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 16, generator=generator)
    labels = torch.randint(4, (examples,), generator=generator)
    return centres[labels] + 0.3 * torch.randn(examples, 16, generator=generator), labels


def stack(hidden: int = 3, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for index in range(hidden):
        layers += [nn.Linear(64 if index else 16, 64), activation()]
    return nn.Sequential(*layers, nn.Linear(64, 4))


class Branches(nn.Module):
    """Residual blocks, each behind a gain of its own that starts at 0 (SkipInit)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.head = nn.Linear(16, 64), nn.Linear(64, 4)
        self.blocks = nn.ModuleList(stack(1)[:2] for _ in range(4))
        for block in self.blocks:
            block[0] = nn.Linear(64, 64)
        self.gains = nn.ParameterList(torch.zeros(()) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block, gain in zip(self.blocks, self.gains, strict=True):
            x = x + gain * block(x)
        return self.head(x)


class TwiceZero(nn.Module):
    """A branch on the only path, of whose two layers one or both start at 0."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.head = nn.Linear(16, 8), nn.Linear(8, 4)
        self.inner, self.outer = nn.Linear(8, 32, bias=False), nn.Linear(32, 8, bias=False)
        nn.init.zeros_(self.outer.weight)
        if both:
            nn.init.zeros_(self.inner.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.outer(torch.relu(self.inner(self.first(x))))))


class Bag(nn.Module):
    """Words to classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words, self.head = nn.Embedding(10, 16), nn.Linear(16, 4)
        nn.init.zeros_(self.words.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.words(words).mean(1))


def accuracy_after(model: nn.Module, inputs: Tensor, labels: Tensor, steps: int = 150) -> float:
    """Train in the usual way; return the accuracy on the same examples."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return float((model(inputs).argmax(1) == labels).float().mean())


def severity(result: DiagnosisResult, code: str) -> str | None:
    return next((f.severity for f in result.findings if f.code == code), None)


def zero_head() -> nn.Module:
    model = stack()
    nn.init.zeros_(model[-1].weight)
    return model


STARTED: dict[str, Callable[[], nn.Module]] = {
    "zero head": zero_head,
    "zero gains": Branches,
    "zero outer layer": lambda: TwiceZero(both=False),
}


@pytest.mark.parametrize("name", STARTED)
def test_a_weight_that_starts_at_0_is_context_and_the_network_trains(name: str) -> None:
    inputs, labels = task()
    model = STARTED[name]()
    result = diagnose(model, inputs, labels)
    assert result.verdict == "healthy", result.findings
    assert severity(result, "no-gradient") == "info"
    assert result.rate is None or 0.1 < result.rate < 10
    assert accuracy_after(model, inputs, labels) > 0.95


def stopped() -> nn.Module:
    """A ReLU on the output, which is below 0."""
    model = stack()
    nn.init.constant_(model[-1].bias, -20)
    return nn.Sequential(*model, nn.ReLU())


STUCK: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "both at 0": (lambda: TwiceZero(both=True), task()),
    "ReLU on the output": (stopped, task()),
    "embedding and head at 0": (Bag, (torch.arange(128).reshape(32, 4) % 10, torch.arange(32) % 4)),
}


@pytest.mark.parametrize("name", STUCK)
def test_a_gradient_that_stays_0_is_the_verdict_and_nothing_is_learnt(name: str) -> None:
    make, (inputs, labels) = STUCK[name]
    model = make()
    result = diagnose(model, inputs, labels)
    assert result.verdict == "no-gradient", result.findings
    assert accuracy_after(model, inputs, labels) < 0.5


def test_a_loss_that_is_met_already_has_no_gradient() -> None:
    model, (inputs, _) = stack(), task()
    result = diagnose(model, inputs, loss=lambda output: (output - 100).clamp_min(0).mean())
    assert result.verdict == "no-gradient"
    assert "the loss does not change with the output" in result.findings[0].message


def test_a_dead_network_is_dead_and_not_without_gradient_for_another_reason() -> None:
    result = diagnose(NetworkConfig(device="cpu", bias_mean=-10))
    assert result.verdict == "dead"
    assert severity(result, "no-gradient") is None


def test_vanishing_is_seen_behind_a_head_that_starts_at_0() -> None:
    inputs, labels = task()
    model = stack(6, nn.Sigmoid)
    plain = diagnose(model, inputs, labels, optimizer="sgd")  # Adam trains it
    nn.init.zeros_(model[-1].weight)
    behind = diagnose(model, inputs, labels, optimizer="sgd")
    assert plain.verdict == behind.verdict == "vanishing"
    assert behind.rate == pytest.approx(plain.rate, rel=0.1)


def test_looking_for_zeros_leaves_the_weights_as_they_were() -> None:
    model, (inputs, labels) = Branches(), task()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    diagnose(model, inputs, labels)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_of_one_example_nothing_is_said_that_needs_several() -> None:
    model, (inputs, labels) = stack(), task()
    with torch.no_grad():
        model[0].bias.fill_(-10)
    result = diagnose(model, inputs[:1], labels[:1])
    assert {f.code for f in result.findings} & {"dead", "collapse"} == set()
    assert severity(result, "batch") == "info"


def test_batch_norm_of_one_example_is_a_warning() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )
    one = torch.randn(1, 1, 8, 8), torch.tensor([1])
    result = diagnose(model, *one)
    assert severity(result, "batch") == "warning"
    model.eval()
    assert severity(diagnose(model, *one), "batch") == "info"


def passes_of(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> int:
    """Return how many forward and backward passes a diagnosis takes."""
    calls = []
    whole = user_module.one_pass

    def counted(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        return whole(*arguments, **keywords)

    monkeypatch.setattr(user_module, "one_pass", counted)
    diagnose(model, *task())
    return len(calls)


def test_gradients_that_were_measured_are_what_is_stepped_against(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert passes_of(monkeypatch, stack()) == 1
    assert passes_of(monkeypatch, Branches()) == 2
    assert passes_of(monkeypatch, TwiceZero(both=False)) == 2


def test_a_zero_weight_that_cannot_be_written_into_is_left_alone() -> None:
    model = Branches()
    gain = nn.Parameter(torch.zeros(1).expand(64))
    model.gains[0] = gain
    result = diagnose(model, *task())
    assert result.verdict == "healthy"
    assert model.gains[0] is gain
    assert not gain.any()
