"""The activation after the output layer: stuck on its plateau, or confident after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradflow import diagnose


def task(scale: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.rand(128, 6, generator=generator) * 2 - 1
    return inputs * scale, (inputs[:, :1] > 0).float()


def network(last: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), last
    )


def trained(model: nn.Module, inputs: Tensor, targets: Tensor, loss: nn.Module) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
    return loss(model(inputs), targets).item()


def test_saturated_outputs_that_no_longer_follow_the_loss_are_an_error_and_do_not_learn() -> None:
    inputs, labels = task(1.0)
    model, targets = network(nn.Tanh()), 0.6 * (2 * labels - 1)
    with torch.no_grad():
        model[4].bias.fill_(7.0)
    result = diagnose(model, inputs, targets, loss=nn.MSELoss())
    assert result.verdict == "saturated", result.findings
    assert result.findings[0].layers == (3,)
    stuck = trained(model, inputs, targets, nn.MSELoss())
    assert trained(network(nn.Tanh()), inputs, targets, nn.MSELoss()) < 0.1 * stuck


def test_confident_outputs_of_a_trained_classifier_are_none() -> None:
    model, (inputs, labels) = network(nn.Sigmoid()), task(1.0)
    trained(model, inputs, labels, nn.BCELoss())
    result = diagnose(model, inputs, labels, loss=nn.BCELoss())
    assert result.output.saturated_fraction > 0.3
    assert "saturated" not in {f.code for f in result.findings if 3 in f.layers}
