"""Gradient flow while training, against autograd and plain arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.activations import activation
from gradflow.benchmarking.flow import STEPS, FlowRecorder, layer_names
from gradflow.benchmarking.networks.classifiers import classifier
from gradflow.training.trainer import Trainer


def network(act: str = "relu", arch: str = "cnn") -> nn.Sequential:
    torch.manual_seed(0)
    return classifier(arch, activation(act), (8, 8), 3, dropout="0", init="keras")


def batch(count: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, 8, 8, generator=generator)
    return images.to(memory_format=torch.channels_last), torch.arange(count) % 3


def trained(act: str, steps: int, lr: float = 0.1) -> tuple[Trainer, FlowRecorder]:
    model = network(act)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=lr))
    trainer.observer = flow = FlowRecorder(model)
    flow.start(steps)
    for _ in range(steps):
        trainer.step(*batch())
    return trainer, flow


@pytest.mark.parametrize("act", ["sigmoid", "gelu"])
def test_norms_and_update_ratios_are_autograd_s(act: str) -> None:
    """With SGD the update is lr·g; to 1e-4, since w − (w − lr·g) cancels in float32."""
    _, flow = trained(act, 1)
    model = network(act)
    loss = F.cross_entropy(model(batch()[0]), batch()[1])
    loss.backward()
    rows = flow.layers(batch()[0])
    for row, layer in zip(rows, [m for m in model if hasattr(m, "weight")], strict=True):
        weight, bias = layer.weight.grad.double(), layer.bias.grad.double()
        assert row["gradient_norm"] == pytest.approx(
            math.hypot(weight.norm(), bias.norm()), rel=1e-5
        )
        ratio = 0.1 * weight.norm() / layer.weight.detach().double().norm()
        assert row["update_ratio"] == pytest.approx(ratio.item(), rel=1e-3)


def test_the_norms_are_of_the_gradients_before_clipping() -> None:
    plain, clipped = (
        Trainer(model, torch.optim.SGD(model.parameters(), 0.1), clip)
        for model, clip in ((network(), None), (network(), lambda ps: [p.grad.zero_() for p in ps]))
    )
    rows = []
    for trainer in (plain, clipped):
        trainer.observer = flow = FlowRecorder(trainer.model)
        trainer.step(*batch())
        rows.append(flow.layers(batch()[0]))
    assert rows[0][0]["gradient_norm"] == pytest.approx(rows[1][0]["gradient_norm"], rel=1e-6)
    assert rows[1][0]["update_ratio"] == 0


@pytest.mark.parametrize(("steps", "recorded"), [(1, 1), (7, 7), (20, 20), (391, STEPS)])
def test_steps_are_recorded_evenly_from_first_to_last(steps: int, recorded: int) -> None:
    flow = FlowRecorder(network())
    flow.start(steps)
    chosen = sorted(flow._chosen)
    assert len(chosen) == recorded
    assert (chosen[0], chosen[-1]) == (1, steps)


def test_means_are_over_the_recorded_steps() -> None:
    trainer, flow = trained("relu", 3, lr=1e-9)  # nothing moves: every step is the same
    once = FlowRecorder(trainer.model)
    trainer.observer = once
    trainer.step(*batch())
    three, one = flow.layers(batch()[0]), once.layers(batch()[0])
    assert three[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-4)


@pytest.mark.parametrize("act", ["relu", "sigmoid", "gelu", "selu"])
def test_activations_are_what_the_network_computes(act: str) -> None:
    """Pre-activations by hand, slopes by autograd, in the network's own order of pool and act."""
    model, images = network(act), batch()[0]
    rows = FlowRecorder(model).layers(images)
    x, seen = images, []
    for module in model.eval():
        if isinstance(module, nn.GELU | nn.ReLU | nn.SELU | nn.Sigmoid):
            z = x.detach().clone().requires_grad_()
            y = activation(act).module()(z)
            (slope,) = torch.autograd.grad(y.sum(), z)
            seen.append((y.detach().double(), slope.abs()))
        with torch.no_grad():
            x = module(x)
    assert len(seen) == 3
    for row, (y, slope) in zip(rows, seen, strict=False):
        assert row["activation_mean"] == pytest.approx(y.mean().item(), rel=1e-5)
        assert row["activation_variance"] == pytest.approx(y.var().item(), rel=1e-4)
        unit = slope.transpose(0, 1).flatten(1)
        assert row["dead_fraction"] == pytest.approx((unit == 0).all(1).double().mean().item())
    assert rows[3].keys() == {"index", "name", "gradient_norm", "update_ratio"}


def test_a_dead_layer_is_seen() -> None:
    model = network("relu")
    with torch.no_grad():
        model[0].bias.fill_(-100.0)  # type: ignore[operator]
    first = FlowRecorder(model).layers(batch()[0])[0]
    assert (first["dead_fraction"], first["saturated_fraction"]) == (1.0, 1.0)


def test_a_saturated_sigmoid_is_not_dead() -> None:
    model = network("sigmoid")
    with torch.no_grad():
        model[0].bias.fill_(8.0)  # type: ignore[operator]
    first = FlowRecorder(model).layers(batch()[0])[0]
    assert first["saturated_fraction"] == 1.0  # σ′(8) = 0.00034 < 0.0025
    assert first["dead_fraction"] == 0.0


def test_looking_leaves_the_model_as_it_was() -> None:
    model = network()
    before = [p.clone() for p in model.parameters()]
    model.train()
    FlowRecorder(model).layers(batch()[0])
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_training_is_the_same_with_and_without_a_recorder() -> None:
    watched, _ = trained("relu", 5)
    model = network("relu")
    alone = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for _ in range(5):
        alone.step(*batch())
    for a, b in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_tiny_gradients_do_not_underflow() -> None:
    model = network(arch="deep-mlp")
    flow = FlowRecorder(model)
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e-30)  # its square is 0 in float32
    flow.before_update()
    row = flow.layers(batch()[0])[0]
    assert row["gradient_norm"] == pytest.approx(1e-30 * math.sqrt(64 * 128 + 128), rel=1e-5)


def test_layers_have_the_names_of_their_kind() -> None:
    assert layer_names(network()) == ["conv 1", "conv 2", "dense 1", "dense 2"]


def test_a_step_waits_for_nothing() -> None:
    """On meta a tensor left on the CPU raises, and so does a number read back."""
    model = network().to("meta")
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.observer = FlowRecorder(model)
    trainer.step(
        torch.zeros(4, 1, 8, 8, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    )
