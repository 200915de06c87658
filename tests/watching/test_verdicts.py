"""`watch` and `diagnose` say the same of the same network, and of nothing it says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.results.watching import WatchResult


def task() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 16, generator=generator)
    labels = torch.randint(4, (128,), generator=generator)
    return centres[labels] + 0.3 * torch.randn(128, 16, generator=generator), labels


def stack(hidden: int, activation: type[nn.Module], std: float | None = None) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for index in range(hidden):
        layers += [nn.Linear(64 if index else 16, 64), activation()]
        if std is not None:
            nn.init.normal_(layers[-2].weight, 0, std)
    return nn.Sequential(*layers, nn.Linear(64, 4))


def watched(
    model: nn.Module,
    steps: int = 60,
    lr: float = 0.01,
    kind: Any = torch.optim.Adam,
    **options: Any,
) -> WatchResult:
    inputs, labels = task()
    optimizer = kind(model.parameters(), lr=lr)
    with gradflow.watch(model, **options) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    return watch.result()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "twelve tanh layers at std 0.05": lambda: stack(12, nn.Tanh, 0.05),
    "four sigmoid layers": lambda: stack(4, nn.Sigmoid, 0.1),
    "three ReLU layers": lambda: stack(3, nn.ReLU),
    "five exploding layers": lambda: stack(5, nn.ReLU, 1.0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_step_has_the_verdict_that_diagnose_gives(name: str) -> None:
    before = gradflow.diagnose(NETWORKS[name](), *task())
    result = watched(NETWORKS[name](), lr=1e-4)
    assert result.verdict == before.verdict
    assert result.first_rate == pytest.approx(before.rate, rel=1e-3)


def test_a_slow_start_is_vanishing_though_the_median_step_is_not() -> None:
    result = watched(stack(8, nn.Tanh, 0.03), steps=300, lr=0.003)
    assert result.verdict == "healthy"  # it has learnt all the same
    (found,) = (f for f in result.findings if f.code == "vanishing")
    assert found.severity == "warning"
    assert "at the first step" in found.message
    assert result.first_rate < 0.7 * result.rate


def test_the_title_of_a_run_that_does_not_clip_is_silent_about_it() -> None:
    assert watched(stack(1, nn.ReLU), steps=3).title == "Healthy over 3 steps"


def test_where_the_gradient_vanishes_no_learning_rate_is_advised() -> None:
    def advice(hidden: int, lr: float) -> dict[str, str | None]:
        found = watched(stack(hidden, nn.Sigmoid), lr=lr, kind=torch.optim.SGD).findings
        return {finding.code: finding.advice for finding in found}

    deep = advice(10, 0.01)
    assert "vanishing" in deep
    assert "step-size" not in deep
    assert "no learning rate" in (deep["not-updated"] or "")
    assert "learning rate near" in (advice(1, 1e-6)["step-size"] or "")


def test_what_fades_for_sgd_is_a_warning_there_and_nothing_with_adam() -> None:
    faded = {
        kind: [
            f
            for f in watched(stack(8, nn.Tanh, 0.05), 12, 1e-3, kind).findings
            if f.code == "vanishing"
        ]
        for kind in (torch.optim.SGD, torch.optim.Adam)
    }
    (found,) = faded[torch.optim.SGD]
    assert found.severity == "warning"
    assert found.message.endswith("SGD hardly trains this, Adam copes")
    assert faded[torch.optim.Adam] == []


def test_a_head_at_0_is_healthy_and_all_at_0_is_not() -> None:
    head = stack(3, nn.ReLU)
    nn.init.zeros_(head[-1].weight)
    everything = stack(3, nn.ReLU)
    for parameter in everything.parameters():
        nn.init.zeros_(parameter)
    assert watched(head).verdict == "healthy"
    assert watched(everything).verdict in ("no-gradient", "dead")


def test_a_layer_without_delta_does_not_hide_the_rate() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.words, self.rest = nn.Embedding(10, 16), stack(6, nn.Sigmoid)

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(self.words((x[:, :5].abs() * 4).long() % 10).mean(1))

    result = watched(Words(), steps=3)
    assert result.rate is not None
    assert result.verdict == "vanishing"


def test_nothing_but_gradients_is_unjudged_and_says_so() -> None:
    result = watched(stack(3, nn.ReLU), activations=False)
    assert result.verdict == "unjudged"
    assert result.title.startswith("Unjudged")
    with pytest.raises(AssertionError, match="δ was read at no layer"):
        result.assert_healthy()


def test_weights_that_all_start_at_0_have_no_gradient_rather_than_dead_units() -> None:
    model = stack(2, nn.ReLU)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    result = watched(model, steps=20)
    errors = [f.code for f in result.findings if f.severity == "error"]
    assert errors[0] == "no-gradient"
    assert "dead" not in errors


class Unrolled(nn.Module):
    """A recurrence written by hand: one dense layer, called once per time step."""

    def __init__(self, std: float) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.recurrent, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        nn.init.normal_(self.recurrent.weight, 0, std)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros_like(x)
        for _ in range(50):
            state = F.relu(x + self.recurrent(state))
        out: Tensor = self.head(state)
        return out


@pytest.mark.parametrize(("std", "said"), [(0.55, True), (0.2, False)])
def test_a_recurrence_written_by_hand_that_explodes(std: float, said: bool) -> None:
    result = watched(Unrolled(std), steps=3, lr=1e-6)
    assert ("exploding" in [f.code for f in result.findings]) is said


class TwoHeads(nn.Module):
    """A stack with a second head, which the loss hardly counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body, self.main, self.beside = nn.Linear(16, 32), nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.body(x))
        out: Tensor = self.main(hidden) + 1e-6 * self.beside(hidden)
        return out


def test_a_last_layer_that_the_loss_hardly_counts_is_no_explosion() -> None:
    result = watched(TwoHeads(), steps=3, lr=1e-6)
    deltas = [row.delta_log10_rms or 0.0 for row in result.records]
    assert deltas[-1] < deltas[0] - 4
    assert "exploding" not in [f.code for f in result.findings]
