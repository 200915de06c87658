"""What a watched run says of its first batch, by the gradients and the optimizer that it has."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.results.watching import WatchResult


def watched(scale: float, optimizer: type[torch.optim.Optimizer], lr: float) -> WatchResult:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 32), nn.ReLU(), nn.Linear(32, 4))
    x, y = scale * torch.rand(64, 50), torch.randint(4, (64,))
    steps = optimizer(model.parameters(), lr=lr)  # type: ignore[call-arg]
    with gradflow.watch(model) as run:
        for _ in range(3):
            steps.zero_grad()
            F.cross_entropy(model(x), y).backward()
            steps.step()
    return run.result()


def test_the_first_update_is_the_optimizers_own() -> None:
    batch = watched(1.0, torch.optim.SGD, 0.1).facts.batch
    assert batch is not None
    assert batch.update is not None
    assert batch.plain_step is not None
    assert batch.update.lr == 0.1
    assert batch.update.relative == pytest.approx(0.1 * (batch.plain_step.relative or 0))
    adam = watched(1.0, torch.optim.Adam, 0.001).facts.batch
    assert adam is not None
    assert adam.update is not None
    assert adam.unit_step is not None
    assert adam.update.optimizer == "Adam"
    assert adam.update.moved == pytest.approx(0.001 * (adam.unit_step.moved or 0))


def test_large_inputs_are_named_by_what_the_first_update_does() -> None:
    found = {f.code for f in watched(255.0, torch.optim.SGD, 0.1).findings}
    assert "inputs" in found
    assert "inputs" not in {f.code for f in watched(1.0, torch.optim.SGD, 0.1).findings}


def test_its_size_is_the_one_that_the_optimizer_takes() -> None:
    """By the weights before and after the step itself."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    x, y = torch.randn(64, 20), torch.randint(4, (64,))
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() > 1}
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    with gradflow.watch(model) as run:
        F.cross_entropy(model(x), y).backward()
        adam.step()
    batch = run.result().facts.batch
    after = {n: p.detach() for n, p in model.named_parameters()}
    ratios = [float((after[n] - w).norm() / w.norm()) for n, w in before.items()]
    assert batch is not None
    assert batch.update is not None
    assert batch.update.relative == pytest.approx(max(ratios), rel=1e-3)
