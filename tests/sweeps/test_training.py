"""Networks of a sweep learn as plain torch modules with torch.optim's SGD do."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

import gradflow
from gradflow import SweepConfig
from gradflow.datasets.images import load
from gradflow.networks.architectures import build
from gradflow.sweeps.grid import tasks
from gradflow.sweeps.training import RATES, trained

STEPS = 12
CONFIG = SweepConfig(
    depths=(2,), weight_variances=(0.5, 3.0), widths=(12,), batch_size=8, seeds=1, train=STEPS
)


def plain(weight_variance: float) -> nn.Sequential:
    """Return the same network of torch's own modules; biases are 0."""
    config = replace(CONFIG.network("tanh", 12, 2), weight_variance=weight_variance)
    config = replace(config, bias_variance=0.0)
    one = build(config, 784, 10, torch.float32, torch.device("cpu"))
    layers = [m for m in one.modules() if hasattr(m, "weight")]
    modules: list[nn.Module] = []
    for layer in layers:
        weight = layer.weight.detach()[0]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.zero_()
        modules += [linear, nn.Tanh()]
    return nn.Sequential(*modules[:-1])


def accuracy(weight_variance: float, rate: float) -> float:
    model, data = plain(weight_variance), load()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    images = torch.as_tensor(data.train_images).flatten(1).float() / 255
    labels = torch.from_numpy(data.train_labels).long()
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (64,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    test = torch.as_tensor(data.test_images[:1000]).flatten(1).float() / 255
    told = model(test).argmax(1) == torch.from_numpy(data.test_labels[:1000]).long()
    return float(told.float().mean())


def test_they_come_to_the_accuracy_of_plain_torch() -> None:
    """Twelve steps amplify rounding: a test image or two of a thousand may change sides."""
    [task] = tasks(CONFIG)
    for learnt, point in zip(trained(task, STEPS), task.points, strict=True):
        expected = [accuracy(point.weight_variance, rate) for rate in RATES]
        assert learnt.accuracy == pytest.approx(max(expected), abs=0.003)
        assert accuracy(point.weight_variance, learnt.rate) == pytest.approx(
            max(expected), abs=0.003
        )


def test_a_trained_sweep_says_to_which_depth_networks_learn() -> None:
    config = SweepConfig(depths=(1, 30), weight_variances=(0.3, 1.2), seeds=1, train=40)
    result = gradflow.sweep(config)
    assert config.data == "mnist"
    reached = {(r.depth, r.weight_variance): r.accuracy for r in result.records}
    assert all(reached[1, weight] > 0.5 for weight in (0.3, 1.2))  # type: ignore[operator]
    assert reached[30, 0.3] < 0.3  # type: ignore[operator]
    by_weight = {row.weight_variance: row for row in result.summary}
    assert by_weight[0.3].trained_to == 1
    assert all(row.learning_rate in RATES for row in result.records)


def test_points_learn_alone_what_they_learn_together() -> None:
    config = SweepConfig(
        depths=(2,), weight_variances=(1.0, 2.0), widths=(12,), seeds=1, train=STEPS
    )
    both = gradflow.sweep(config).records
    for row, weight in itertools.product(both, (1.0, 2.0)):
        if row.weight_variance == weight:
            alone = SweepConfig(**{**vars(config), "weight_variances": (weight,)})
            [single] = gradflow.sweep(alone).records
            assert single.accuracy == pytest.approx(row.accuracy, abs=0.003)
