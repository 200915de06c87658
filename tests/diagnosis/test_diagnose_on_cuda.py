"""diagnose() on a GPU: its numbers are the CPU's, and it leaves the model as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from support.gpu import NEEDS_CUDA
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.run import diagnose
from gradflow.results.diagnosis import DiagnosisResult

pytestmark = [pytest.mark.cuda, NEEDS_CUDA]


def agree(here: DiagnosisResult, there: DiagnosisResult, rel: float) -> None:
    assert here.verdict == there.verdict
    for ours, theirs in zip(here.records, there.records, strict=True):
        assert theirs.gradient_norm == pytest.approx(ours.gradient_norm, rel=rel)
        assert theirs.delta_log10_rms == pytest.approx(ours.delta_log10_rms, abs=rel)
        assert theirs.activation_variance == pytest.approx(ours.activation_variance, rel=rel)


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 10, "act": "sigmoid"},
        {"arch": "cnn", "act": "relu", "depth": 4},
        {"arch": "lstm", "depth": 5},
        {"arch": "transformer", "depth": 2},
    ],
)
def test_a_built_in_network_gives_the_cpus_numbers(fields: dict[str, object]) -> None:
    """float64, so that 1e-9 is far above the rounding of other kernels."""
    here, there = (
        diagnose(NetworkConfig(**fields, dtype="float64", device=d))  # type: ignore[arg-type]
        for d in ("cpu", "cuda")
    )
    assert there.meta.device == "cuda:0"
    agree(here, there, 1e-9)


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Dropout(0.1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 5),
    )


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(4)
    return torch.randn(16, 3, 8, 8, generator=random), torch.randint(5, (16,), generator=random)


def test_a_users_module_has_the_gradients_of_autograd_and_is_left_as_it_was() -> None:
    model, (inputs, labels) = network().cuda().eval(), (t.cuda() for t in batch())
    before, random = copy.deepcopy(model.state_dict()), torch.cuda.get_rng_state()
    found = diagnose(model, inputs, labels)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(random, torch.cuda.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
    F.cross_entropy(model(inputs), labels).backward()
    for row in found.records:
        weight = model.get_submodule(row.name).weight
        assert isinstance(weight, nn.Parameter)
        assert weight.grad is not None
        assert row.gradient_norm == pytest.approx(weight.grad.norm().item(), rel=1e-4)


def test_a_half_precision_model_is_compared_with_its_float32_copy() -> None:
    model, (inputs, labels) = network().cuda().half(), (t.cuda() for t in batch())
    found = diagnose(model, inputs.half(), labels, loss=lambda o, t: F.cross_entropy(o.float(), t))
    assert found.meta.device is not None
    assert found.meta.device.startswith("cuda")
    assert all(row.gradient_norm is not None for row in found.records)
