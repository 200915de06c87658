"""Modules that nobody here wrote, through `--model` and `watch`, with nothing done for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradflow

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
public_models = pytest.importorskip("support.public_models")

FILE = Path(public_models.__file__)
pytestmark = pytest.mark.filterwarnings("ignore")  # a library's own deprecations
NAMES = [build.__name__ for build in public_models.ALL]


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.logging.set_verbosity_error()


def built(name: str, seed: int = 0) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    made: tuple[nn.Module, dict[str, torch.Tensor]] = getattr(public_models, name)()
    return made


def norms(model: nn.Module) -> dict[str, float]:
    """Of every weight's gradient, from `.grad`."""
    return {
        name: float(module.weight.grad.double().norm())
        for name, module in model.named_modules()
        if getattr(getattr(module, "weight", None), "grad", None) is not None
    }


@pytest.mark.parametrize("name", NAMES)
def test_diagnose_model_has_plain_autograds_magnitudes(
    name: str, run_json: Callable[..., Any]
) -> None:
    document = run_json("diagnose", "--model", f"{FILE}:{name}", "--device", "cpu")
    model, inputs = built(name)  # in training mode: dropout draws the same numbers after the seed
    model(**inputs).loss.backward()
    expected = norms(model)
    assert len(document["rows"]) >= 10
    for row in document["rows"]:
        assert row["gradient_norm"] == pytest.approx(expected[row["name"]], rel=1e-5), row["name"]
    assert document["verdict"] == "healthy", document["findings"]


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_unchanged_and_every_row_is_autograds(name: str) -> None:
    model, inputs = built(name)
    model.eval()  # no dropout: the plain pass sees the same numbers
    before = {n: t.clone() for n, t in model.state_dict().items()}
    result = gradflow.diagnose(model, inputs)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert not model.training
    model(**inputs).loss.backward()
    expected = norms(model)
    for row in result.records:
        assert row.gradient_norm == pytest.approx(expected[row.name], rel=1e-5), row.name


@pytest.mark.parametrize("name", NAMES)
def test_watch_has_plain_autograds_magnitudes(name: str) -> None:
    model, inputs = built(name)
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    expected = []
    with gradflow.watch(model) as w:
        for _ in range(2):
            optimizer.zero_grad()
            model(**inputs).loss.backward()
            expected.append(norms(model))
            optimizer.step()
    result = w.result()
    assert result.seen == 2
    names = {row.index: row.name for row in result.records}
    compared = 0
    for row in result.history:
        known = expected[row.step - 1].get(names[row.index])
        if known is not None and row.gradient_log10_norm is not None:
            assert 10**row.gradient_log10_norm == pytest.approx(known, rel=1e-5), names[row.index]
            compared += 1
    assert compared >= 20
    assert result.verdict == "healthy", result.findings


@pytest.mark.parametrize("name", ["bert", "gpt2", "vit"])
def test_what_cannot_train_is_not_called_healthy(name: str) -> None:
    model, inputs = built(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e20)
    assert gradflow.diagnose(model.eval(), inputs).verdict != "healthy"
