"""Whatever makes the passes, one pipeline turns them into a result."""

from __future__ import annotations

import copy
import dataclasses
import statistics

import pytest
import torch
from torch import nn

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.builtin import built_in
from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.run import measured
from gradflow.diagnosis.subject import Subject, lost_in_half, seeds_of
from gradflow.diagnosis.user_module import user_module

CONFIG = NetworkConfig(device="cpu", depth=6, width=16, batch_size=8, act="tanh", seeds=3, seed=4)


def test_networks_measured_one_by_one_are_put_side_by_side() -> None:
    alone = [dataclasses.replace(CONFIG, seed=seed, seeds=1) for seed in seeds_of(CONFIG)]
    single = [diagnose(config) for config in alone]
    passes = [seen for config in alone for seen in built_in(config).passes()]
    result = measured(Subject(passes=lambda: passes, lr=CONFIG.lr, seeds=seeds_of(CONFIG)))
    assert result.meta.seeds == (4, 5, 6)
    assert result.rate == pytest.approx(statistics.geometric_mean(one.rate for one in single))
    assert result.rate_low < result.rate < result.rate_high
    for row, *same in zip(result.records, *(one.records for one in single), strict=True):
        for name in ("delta_log10_rms", "update_ratio", "gradient_norm", "gradient_rms"):
            middle = statistics.median(getattr(one, name) for one in same)
            assert getattr(row, name) == pytest.approx(middle), name
        assert row.delta_log10_rms_high > row.delta_log10_rms_low


def test_where_a_result_came_from_is_the_subjects_or_else_the_losss() -> None:
    model, objective = nn.Linear(4, 2).double(), Objective(torch.randn(3, 4).double())
    objective = dataclasses.replace(objective, loss=lambda output: output.square().mean())
    subject = user_module(model, objective, lr=0.5)
    assert measured(subject).meta.dtype == "float64"
    said = measured(dataclasses.replace(subject, dtype="as asked", options={"model": "mine"})).meta
    assert (said.dtype, said.config, said.device) == ("as asked", {"model": "mine"}, "cpu")
    (ratio,) = (row.update_ratio for row in measured(subject).records)
    (half,) = (row.update_ratio for row in measured(dataclasses.replace(subject, lr=0.25)).records)
    assert half == pytest.approx(ratio / 2)


def test_comparing_with_half_precision_leaves_both_modules_as_they_were() -> None:
    torch.manual_seed(0)
    single = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    half = copy.deepcopy(single).to(torch.float16)
    before = copy.deepcopy([single.state_dict(), half.state_dict()])
    inputs = torch.randn(16, 8)

    def loss(model: nn.Module) -> torch.Tensor:
        return 1e-6 * model(inputs.to(next(model.parameters()).dtype)).float().square().mean()

    lost = lost_in_half((single, loss), (half, loss), replicated=False)
    assert max(float(share[0]) for share in lost.delta if share is not None) > 0.1
    for model, state in zip((single, half), before, strict=True):
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
    assert all(p.grad is None for m in (single, half) for p in m.parameters())
