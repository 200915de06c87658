"""A watched loop on a GPU: it trains to the same bits, waits for nothing, and sees its norms."""

from __future__ import annotations

import pytest
import torch
from support.gpu import NEEDS_CUDA, waiting_is_an_error
from torch import nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.watching.run import Watch

pytestmark = [pytest.mark.cuda, NEEDS_CUDA]


class Loop:
    """Ten layers on the GPU with their optimizer and one batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [m for _ in range(5) for m in (nn.Linear(32, 32), nn.ReLU())]
        self.model = nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(32, 4)).cuda()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.inputs = torch.randn(64, 32, device="cuda")
        self.labels = torch.randint(4, (64,), device="cuda")

    def step(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.inputs), self.labels).backward()
        self.optimizer.step()

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def test_training_is_the_same_to_the_bit() -> None:
    plain = Loop()
    for _ in range(15):
        plain.step()
    watched = Loop()
    with gradflow.watch(watched.model):
        for _ in range(15):
            watched.step()
    assert torch.equal(plain.weights(), watched.weights())


def test_no_step_waits_for_the_device() -> None:
    loop = Loop()
    with gradflow.watch(loop.model) as watching:
        loop.step()  # what is set up once may wait
        with waiting_is_an_error():
            for _ in range(12):
                loop.step()
    assert watching.result().seen == 13


def test_the_norms_are_those_of_the_gradients() -> None:
    loop, norms = Loop(), []
    with gradflow.watch(loop.model) as watching:
        for _ in range(3):
            loop.step()
            grads = [p.grad for p in loop.model.parameters() if p.grad is not None]
            norms.append(nn.utils.get_total_norm(grads).item())
    seen = [step.norm_before for step in watching.result().steps]
    assert seen == pytest.approx(norms, rel=1e-5)


def scaled_loop(loop: Loop, scale: float, steps: int) -> Watch:
    """fp16 under autocast with a GradScaler that starts at `scale`."""
    scaler = torch.amp.GradScaler("cuda", init_scale=scale)
    with gradflow.watch(loop.model, scaler=scaler) as watching:
        for _ in range(steps):
            loop.optimizer.zero_grad()
            with torch.autocast("cuda", torch.float16):
                loss = F.cross_entropy(loop.model(loop.inputs), loop.labels)
            scaler.scale(loss).backward()
            scaler.step(loop.optimizer)
            scaler.update()
    return watching


def test_a_scaler_that_starts_too_high_skips_steps_and_says_so() -> None:
    result = scaled_loop(Loop(), 2.0**40, 4).result()
    assert result.skipped == 4
    assert [f.severity for f in result.findings if f.code == "skipped"] == ["error"]


def test_a_scaler_s_gradients_are_shown_unscaled() -> None:
    plain = Loop()
    plain.model.eval()
    with gradflow.watch(plain.model) as watching:
        plain.step()
    loop = Loop()
    loop.model.eval()
    scaled = scaled_loop(loop, 2.0**10, 1).result()
    here, there = watching.result().steps[0].norm_before, scaled.steps[0].norm_before
    assert there == pytest.approx(here, rel=2e-2)  # fp16 products
