"""What looks like a vanishing gradient in the rows and is none: each network here trains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import diagnose
from gradflow.diagnosis.rows import in_chain
from gradflow.results.diagnosis import DiagnosisResult


def labelled(examples: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Return four classes, each around a point of its own."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, *shape, generator=generator)
    labels = torch.randint(4, (examples,), generator=generator)
    return centres[labels] + 0.1 * torch.randn(examples, *shape, generator=generator), labels


def loss_after(model: nn.Module, inputs: Tensor, labels: Tensor, steps: int = 100) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def codes(result: DiagnosisResult, *severities: str) -> set[str]:
    return {f.code for f in result.findings if f.severity in severities}


# -- one block in many places


class Stack(nn.Module):
    """An encoder of sigmoids, called on one input or on two (a Siamese network)."""

    def __init__(self, depth: int, twice: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [m for _ in range(depth) for m in (nn.Linear(16, 16), nn.Sigmoid())]
        self.encoder, self.head = nn.Sequential(*layers), nn.Linear(16, 4)
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(h - self.encoder(x.flip(0)) if self.twice else h)


class OneBlock(nn.Module):
    """As in ALBERT: a layer for all, then one block at every depth, whose inside has little δ."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.queries, self.keys = nn.Linear(16, 16), nn.Linear(16, 16)
        self.wide, self.out = nn.Linear(16, 64), nn.Linear(64, 16)
        with torch.no_grad():
            for layer in (self.queries, self.keys):
                layer.weight.mul_(0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(4):
            gate = torch.tanh(self.queries(x) * self.keys(x))
            x = F.layer_norm(x + gate + self.out(F.gelu(self.wide(x))), (16,))
        return self.head(x)


def test_the_rows_of_a_block_that_is_called_again_and_again_are_no_chain() -> None:
    batch = labelled(64, 16)
    result = diagnose(OneBlock(), *batch)
    levels = [row.delta_log10_rms for row in result.records[1:5]]
    assert min(levels) < levels[-1] - 0.8  # that far apart, at every depth
    assert "vanishing" not in codes(result, "error", "warning")
    assert result.rate is None or 0.5 < result.rate < 2
    assert loss_after(OneBlock(), *batch) < 0.1


def test_layers_that_all_run_twice_are_one() -> None:
    batch = labelled(64, 16)
    once, twice = (diagnose(Stack(16, both), *batch) for both in (False, True))
    assert once.verdict == twice.verdict == "vanishing"
    assert twice.rate == pytest.approx(once.rate, rel=0.1)


def test_only_what_is_called_more_often_than_the_first_layer_is_left_out() -> None:
    deltas: list[Any] = [np.zeros(1)] * 4
    assert [d is None for d in in_chain(deltas, [1, 4, 4, 1, 1])] == [False, True, True, False]
    assert None not in in_chain(deltas, [2, 2, 2, 2, 1])
    assert None not in in_chain(deltas, [])


# -- fewer positions at every layer


def strided(gain: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for place in range(6):
        layers += [nn.Conv1d(8 if place else 1, 8, 4, stride=4), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 4))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Conv1d):
                layer.weight.mul_(gain)
    return model


def test_delta_that_is_spread_over_more_positions_is_not_lost() -> None:
    batch = labelled(16, 1, 4**6)
    result = diagnose(strided(), *batch)
    rows = result.records[:6]
    assert rows[-1].delta_log10_rms - rows[0].delta_log10_rms > 3
    assert result.facts.whole_rate > result.rate
    # 4 positions become 1, in each layer: the rms of the same norm is √4 times as large
    assert result.facts.whole_rate / result.rate == pytest.approx(2, rel=0.01)
    assert "vanishing" not in codes(result, "error", "warning")
    assert loss_after(strided(), *batch) < 0.1


def test_delta_that_is_lost_as_well_is_said() -> None:
    assert diagnose(strided(gain=0.1), *labelled(16, 1, 4**6)).verdict == "vanishing"


# -- behind small gains


class Scaled(nn.Module):
    """Residual branches behind layer scales, on an input that has no layer of its own."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.branches = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.scales = nn.ParameterList(torch.full((16,), scale) for _ in range(4))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for branch, scale in zip(self.branches, self.scales, strict=True):
            x = x + scale * torch.tanh(branch(x))
        return self.head(x)


def test_branches_behind_a_small_layer_scale_are_no_weak_head() -> None:
    batch = labelled(64, 16)
    result = diagnose(Scaled(1e-6), *batch)
    assert result.output.delta_log10_rms - result.records[3].delta_log10_rms > 5
    assert result.facts.small_gains
    assert "vanishing" not in codes(result, "error", "warning", "info")
    assert loss_after(Scaled(1e-6), *batch) < 0.1


def test_a_weak_head_is_said_where_no_gain_is_small() -> None:
    model = Scaled(1.0)
    with torch.no_grad():
        model.head.weight.mul_(1e-6)
    batch = labelled(64, 16)
    weak = diagnose(model, *batch, lr=1e-9)
    assert "vanishing" in codes(weak, "warning")
    assert not weak.facts.small_gains


def test_small_output_weights_that_the_first_step_makes_larger_are_no_fault() -> None:
    def beit() -> nn.Module:
        model = Scaled(1.0)
        with torch.no_grad():
            model.head.weight.mul_(1e-5)
        return model

    batch = labelled(64, 16)
    result = diagnose(beit(), *batch)
    assert result.output.delta_log10_rms - result.records[3].delta_log10_rms > 4
    assert "vanishing" not in codes(result, "error", "warning")
    assert loss_after(beit(), *batch) < 0.1


# -- gradients that go into .grad alone


class Rerun(torch.autograd.Function):
    """As a reversible block: runs again in the backward pass, and calls backward itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: nn.Module) -> Tensor:
        ctx.block = block
        ctx.save_for_backward(x)
        with torch.no_grad():
            return block(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            again = x.detach().requires_grad_()
            ctx.block(again).backward(gradients[0])
        return again.grad, None


class Reversible(nn.Module):
    """Blocks that only the input's gradient leads back to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = Rerun.apply(x, block)
        return x[:, :4]


def test_gradients_that_only_the_inputs_lead_to_are_plain_backwards() -> None:
    inputs, labels = labelled(16, 16)
    inputs.requires_grad_()
    model = Reversible()
    F.cross_entropy(model(inputs), labels).backward()
    expected = [float(block[0].weight.grad.norm()) for block in model.blocks]
    model.zero_grad()
    before, inputs.grad = None, None
    result = diagnose(model, inputs, labels)
    assert [row.gradient_norm for row in result.records] == pytest.approx(expected, rel=1e-5)
    assert all(math.isfinite(row.delta_log10_rms) for row in result.records)
    assert "unreached" not in codes(result, "error", "warning")
    assert inputs.grad is before
    assert all(p.grad is None for p in model.parameters())
