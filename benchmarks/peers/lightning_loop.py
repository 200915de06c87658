"""Lightning on the plain network and DataLoader, on all cores."""

from __future__ import annotations

import functools
import logging
import time
import warnings
from typing import Any

import lightning
import torch
from plain_network import loader, network
from protocol import serve
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
source = functools.cache(loader)


class Network(lightning.LightningModule):
    """The network, its loss and its optimiser."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.network = network(act)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam as in the article."""
        return torch.optim.Adam(self.parameters(), lr=1e-3, eps=1e-7)


class Clock(lightning.Callback):
    """Times the batches of an epoch, without what comes before the first and after the last."""

    def on_train_batch_start(self, *arguments: Any) -> None:
        """Note the start of the second batch: the first one waits for workers to start."""
        if arguments[-1] == 1:
            self.start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the end of a batch."""
        self.seconds = time.perf_counter() - getattr(self, "start", 0.0)


modules: dict[str, nn.Module] = {}


def answer(acts: list[str], steps: int, workers: int = 0) -> dict[str, Any]:
    """Take so many steps with each activation; return the seconds of each."""
    seconds = {}
    for act in acts:
        clock = Clock()
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=steps + 1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=0.5,
            gradient_clip_algorithm="value",
            callbacks=[clock],
        )
        trainer.fit(modules.setdefault(act, Network(act)), source(workers))
        seconds[act] = clock.seconds
    return {"seconds": seconds}


if __name__ == "__main__":
    serve({"lightning": lightning.__version__, "torch": torch.__version__}, answer)
