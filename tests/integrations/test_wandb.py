"""W&B offline, with the real library where it is installed, and what speaks its API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradflow
from gradflow.integrations import log_to_wandb
from gradflow.results.watching import WatchResult


@pytest.fixture(scope="module")
def result() -> WatchResult:
    torch.manual_seed(0)
    layers = [part for _ in range(10) for part in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    inputs = torch.randn(16, 8)
    with gradflow.watch(model) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), (inputs[:, 0] > 0).long()).backward()
            optimizer.step()
    return watch.result()


class Run:
    """What trackio, swanlab and their like have in common."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []

    def log(self, metrics: dict[str, Any]) -> None:
        self.logged.append(metrics)


def test_each_step_is_logged_once_in_order(result: WatchResult) -> None:
    run = Run()
    log_to_wandb(result, run)
    assert [metrics["gradflow/step"] for metrics in run.logged] == [1, 2, 3]
    assert [m["gradflow/norm_before"] for m in run.logged] == [s.norm_before for s in result.steps]
    assert "gradflow/delta_log10_rms/0" in run.logged[0]


@pytest.mark.filterwarnings("ignore")
def test_an_offline_run_of_wandb_holds_it(
    result: WatchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb: Any = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path, project="test") as run:
        log_to_wandb(result)
        assert run.summary["gradflow/verdict"] == "vanishing"
        assert "δ shrinks" in run.summary["gradflow/finding/vanishing"]
        assert run.summary["gradflow/step"] == 3
        assert run.summary["gradflow/norm_before"] == pytest.approx(result.steps[-1].norm_before)
    (written,) = tmp_path.rglob("*.wandb")
    wanted = b"gradflow/delta_log10_rms/0"
    deadline = time.monotonic() + 30  # a process of W&B's own writes it, after the run has ended
    while wanted not in written.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert wanted in written.read_bytes()
