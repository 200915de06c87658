"""Lightning, with the real library where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

lightning: Any = pytest.importorskip("lightning.pytorch")
pytestmark = pytest.mark.filterwarnings("ignore")


class Classifier(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self, depth: int, activation: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        hidden = [part for _ in range(depth) for part in (nn.Linear(16, 16), activation())]
        self.layers = nn.Sequential(*hidden, nn.Linear(16, 2))

    def training_step(self, batch: Any, _: int) -> Any:
        inputs, labels = batch
        return nn.functional.cross_entropy(self.layers(inputs), labels)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


def fit(model: Any, folder: Path, *callbacks: Any, **options: Any) -> Any:
    inputs = torch.randn(256, 16, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, DataLoader(data, batch_size=32))
    return trainer


def test_a_healthy_network_is_healthy_and_trains_as_without(tmp_path: Path) -> None:
    from gradflow.integrations import LightningWatch

    watched, alone, callback = Classifier(3, nn.ReLU), Classifier(3, nn.ReLU), LightningWatch()
    fit(watched, tmp_path, callback, gradient_clip_val=0.5)
    fit(alone, tmp_path, gradient_clip_val=0.5)
    pairs = zip(watched.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    result = callback.result
    assert (result.verdict, result.seen) == ("healthy", 16)
    assert result.clip_rate is not None
    assert [row.name for row in result.records] == [f"layers.{n}" for n in (0, 2, 4, 6)]
    assert all(row.delta_log10_rms is not None for row in result.records)
    assert all(step.loss is not None for step in result.steps)


def test_sigmoid_vanishes_and_ends_the_training(tmp_path: Path) -> None:
    from gradflow.integrations import LightningWatch

    callback = LightningWatch(fail_on=["vanishing"], check_every=4)
    trainer = fit(Classifier(10, nn.Sigmoid), tmp_path, callback)
    assert (callback.stopped_by, callback.result.seen) == ("vanishing", 4)
    assert trainer.global_step == 4


def test_a_training_that_raises_leaves_a_result(tmp_path: Path) -> None:
    from gradflow.integrations import LightningWatch

    class Failing(Classifier):
        def training_step(self, batch: Any, number: int) -> Any:
            if number == 3:
                raise ValueError("broken data")
            return super().training_step(batch, number)

    callback = LightningWatch()
    with pytest.raises(ValueError, match="broken data"):
        fit(Failing(2, nn.ReLU), tmp_path, callback)
    assert callback.result.seen == 3
