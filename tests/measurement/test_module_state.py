"""Whatever a forward pass writes into its module is undone."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.measurement.preserving import preserved


class Meter:
    """An object of somebody's own."""

    def __init__(self) -> None:
        self.sum, self.parts = 0.0, [0.0]


class Writing(nn.Module):
    """Writes into everything that a module can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.embedding = nn.Linear(3, 3), nn.Embedding(4, 3, max_norm=0.1)
        self.scale = nn.Parameter(torch.zeros(3))
        self.register_buffer("seen", None)
        self.register_buffer("mean", torch.zeros(3))
        self.calls, self.started, self.state = 0, False, None
        self.log: list[Any] = []
        self.cache: dict[str, Any] = {}
        self.queue: deque[int] = deque([1, 2], maxlen=2)
        self.held = (torch.zeros(2), {"inner": torch.zeros(2)})
        self.meter = Meter()
        self.gone = "here"

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.started, self.state, self.seen = True, x, torch.ones(2)
        self.log.append(x)
        self.cache["x"] = x
        self.queue.append(3)
        self.held[0].add_(1)
        self.held[1]["inner"].add_(1)
        self.meter.sum += 1
        self.meter.parts.append(1.0)
        self.mean.add_(x.mean(0)).requires_grad_()
        self.added = nn.Linear(2, 2)
        self.register_forward_hook(lambda *_: None)
        self.scale.data = torch.ones(3)
        self.linear.weight.data.mul_(2)
        self.linear.bias.requires_grad_(False)
        self.eval()
        del self.gone
        random.random(), np.random.rand(), torch.rand(1)
        self.embedding(torch.tensor([1]))
        return self.linear(x)


def held(model: Writing) -> dict[str, Any]:
    return {
        "attributes": {name: id(value) for name, value in vars(model).items()},
        "plain": (model.calls, model.started, model.state, hasattr(model, "gone"), model.training),
        "containers": (list(model.log), dict(model.cache), list(model.queue)),
        "meter": (model.meter.sum, list(model.meter.parts)),
        "modules": list(model._modules),
        "hooks": len(model._forward_hooks),
        "requires": [t.requires_grad for t in (*model.parameters(), *model.buffers())],
        "random": (random.getstate(), torch.get_rng_state().tolist()),
        "numpy": np.random.get_state()[1].tolist(),
    }


def values(model: Writing) -> list[Tensor]:
    inside = [model.held[0], model.held[1]["inner"]]
    return [t.detach().clone() for t in (*model.parameters(), *model.buffers(), *inside)]


def test_all_that_a_forward_pass_writes_is_undone() -> None:
    torch.manual_seed(0)
    model = Writing()
    model.linear.weight.grad = torch.ones(3, 3)
    grad, before, tensors = model.linear.weight.grad, held(model), values(model)
    with preserved(model):
        assert model.linear.weight.grad is None
        model(torch.randn(2, 3))
        assert held(model) != before
    assert held(model) == before
    assert all(torch.equal(a, b) for a, b in zip(values(model), tensors, strict=True))
    assert model.linear.weight.grad is grad


def test_it_is_undone_after_an_error_too() -> None:
    torch.manual_seed(0)
    model = Writing()
    before, tensors = held(model), values(model)
    try:
        with preserved(model):
            model(torch.randn(2, 3))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert held(model) == before
    assert all(torch.equal(a, b) for a, b in zip(values(model), tensors, strict=True))


def test_no_number_is_left_as_no_number() -> None:
    model = nn.BatchNorm1d(2)
    model.running_mean.fill_(torch.nan)
    with preserved(model):
        model(torch.randn(4, 2))
    assert model.running_mean.isnan().all()


def test_a_state_that_is_expanded_is_left_to_itself() -> None:
    module = nn.Linear(2, 2)
    module.state = torch.zeros(1, 3).expand(4, 3)  # one number stands for four: not to be written
    with preserved(module):
        module.state = module.state + 1
    assert module.state.stride() == (0, 1)
    assert not module.state.any()
