"""Walks give what torch's own do, in the same order."""

from __future__ import annotations

import torch
from torch import nn

from gradflow.measurement import walks


def shared_parts() -> nn.Module:
    """A model with a part in two places, a tied weight, an empty place and buffers."""
    block = nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4))
    model = nn.ModuleDict({"first": block, "again": block, "own": nn.Sequential(nn.Linear(4, 4))})
    model["own"][0].weight = block[0].weight
    model.register_module("nothing", None)
    model.register_parameter("scale", nn.Parameter(torch.ones(4)))
    model.register_buffer("beside", block[1].running_mean)
    return model


def same(found: list, expected: list) -> bool:
    return len(found) == len(expected) and all(a is b for a, b in zip(found, expected, strict=True))


def test_what_torch_finds() -> None:
    for model in (shared_parts(), nn.Linear(2, 3), nn.ReLU()):
        named = walks.named_parts(model)
        assert [name for name, _ in named] == [name for name, _ in model.named_modules()]
        assert same(walks.parts(model), [part for _, part in named])
        assert same(walks.parameters(model), list(model.parameters()))
        assert same(walks.buffers(model), list(model.buffers()))
        names = [name for name, _ in model.named_parameters()]
        assert [name for name, _ in walks.named_parameters(model)] == names
        names = [name for name, _ in model.named_buffers()]
        assert [name for name, _ in walks.named_buffers(model)] == names
