"""What `diagnose` and its like are given, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import gradflow
from gradflow.errors import GradflowError

X, LABELS = torch.randn(16, 10), torch.randint(3, (16,))
LOADER: Any = DataLoader(TensorDataset(X, LABELS), batch_size=4)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        ((X, network(), LABELS), {}, "got a Tensor"),
        ((None, X, LABELS), {}, "got a NoneType"),
        (("resnet18", X, LABELS), {}, "got a str"),
        ((nn.Sequential, X, LABELS), {}, "Sequential(…) makes one of the class"),
        ((network(), LOADER), {}, "next(iter(loader))"),
        ((network(), X, LABELS), {"loss": "mse"}, "got 'mse'"),
        ((network(), X, LABELS), {"loss": nn.MSELoss}, "MSELoss()"),
        ((network(), X, LABELS), {"lr": "0.1"}, "lr must be a number of at least 0, got '0.1'"),
        ((network(), X, LABELS), {"lr": -1.0}, "got -1.0"),
        ((network(), X, LABELS), {"lr": float("nan")}, "got nan"),
        (
            (network(), X, LABELS),
            {"trial_steps": -3},
            "trial_steps must be a whole number of at least 0, got -3",
        ),
        ((network(), X, LABELS), {"optimizer": "adamm"}, "unknown optimizer 'adamm'"),
        ((network(), X, LABELS), {"optimizer": nn.ReLU()}, "got a ReLU"),
    ],
)
def test_what_cannot_be_diagnosed_is_said_in_one_line(
    given: tuple[Any, ...], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(GradflowError) as raised:
        gradflow.diagnose(*given, **options)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "function", [gradflow.theory, gradflow.clip, gradflow.sweep, gradflow.benchmark]
)
def test_functions_of_a_config_say_which(function: Callable[..., Any]) -> None:
    given = {"config": "sigmoid"}
    with pytest.raises(GradflowError, match=r"needs a \w+Config, got 'sigmoid'"):
        function(**given)


class Own(torch.optim.AdamW):
    """An optimizer of somebody's own."""


@pytest.mark.parametrize(
    ("make", "name", "lr"),
    [
        (lambda p: torch.optim.Adam(p, lr=3e-4), "adam", 3e-4),
        (lambda p: Own(p, lr=2e-3), "adamw", 2e-3),
        (lambda p: torch.optim.SGD(p, lr=0.5), "sgd", 0.5),
    ],
)
def test_an_optimizer_in_use(
    make: Callable[..., torch.optim.Optimizer], name: str, lr: float
) -> None:
    model = network()
    facts = gradflow.diagnose(model, X, LABELS, optimizer=make(model.parameters())).facts
    assert (facts.optimizer, facts.rate.rate if facts.rate else None) == (name, lr)


def test_the_class_of_an_optimizer_tells_no_rate() -> None:
    facts = gradflow.diagnose(network(), X, LABELS, optimizer=torch.optim.RMSprop).facts
    assert (facts.optimizer, facts.rate) == ("rmsprop", None)


class Unsqueezed(nn.Module):
    """A series of numbers goes into a recurrence or a convolution with an axis more."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.recurrent = kind == "recurrent"
        self.first: Any = nn.GRU(1, 24, batch_first=True) if self.recurrent else nn.Conv1d(1, 24, 3)
        self.head = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.recurrent:
            return self.head(self.first(x.unsqueeze(-1))[0][:, -1])
        return self.head(self.first(x.unsqueeze(1)).relu().mean(2))


@pytest.mark.parametrize("kind", ["recurrent", "convolution"])
def test_inputs_too_small_for_the_optimizer_in_use(kind: str) -> None:
    torch.manual_seed(0)
    model, x, y = Unsqueezed(kind), torch.randn(64, 12), torch.randn(64, 1)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)

    def said(scale: float) -> set[str]:
        found = gradflow.diagnose(model, scale * x, y, loss=F.mse_loss, optimizer=adam)
        return {f.code for f in found.findings}

    assert "inputs" in said(1e-4)
    assert "inputs" not in said(1.0)
