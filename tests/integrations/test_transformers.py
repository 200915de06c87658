"""Hugging Face's Trainer, with the real library where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")


class Classifier(nn.Module):
    def __init__(self, depth: int, activation: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        hidden = [part for _ in range(depth) for part in (nn.Linear(16, 16), activation())]
        self.layers = nn.Sequential(*hidden, nn.Linear(16, 2))

    def forward(self, inputs: Any, labels: Any) -> dict[str, Any]:
        outputs = self.layers(inputs)
        return {"loss": nn.functional.cross_entropy(outputs, labels), "logits": outputs}


@pytest.fixture(autouse=True)
def no_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of tests of that name is not the library."""
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)


def trained(model: nn.Module, folder: Path, *callbacks: Any) -> Any:
    inputs = torch.randn(256, 16, generator=torch.Generator().manual_seed(1))
    data = [{"inputs": x, "labels": (x[0] > 0).long()} for x in inputs]
    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=32,
        learning_rate=0.01,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        remove_unused_columns=False,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=list(callbacks))
    trainer.train()
    return trainer


def test_a_healthy_network_is_healthy_and_trains_as_without(tmp_path: Path) -> None:
    from gradflow.integrations import TransformersWatch

    watched, alone, callback = Classifier(3, nn.ReLU), Classifier(3, nn.ReLU), TransformersWatch()
    trained(watched, tmp_path, callback)
    trained(alone, tmp_path)
    pairs = zip(watched.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    result = callback.result
    assert (result.verdict, result.seen) == ("healthy", 16)
    assert all(row.delta_log10_rms is not None for row in result.records)


def test_sigmoid_vanishes_and_ends_the_training(tmp_path: Path) -> None:
    from gradflow.integrations import TransformersWatch

    callback = TransformersWatch(fail_on="vanishing", check_every=4)
    trainer = trained(Classifier(10, nn.Sigmoid), tmp_path, callback)
    assert (callback.stopped_by, callback.result.seen) == ("vanishing", 4)
    assert trainer.state.global_step == 4
