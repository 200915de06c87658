"""A training run on disk: what it needs to go on as if it had never stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gradflow.benchmark.events import EpochDone
from gradflow.errors import GradflowError
from gradflow.results.benchmark import FlowRow, HistoryRow
from gradflow.training.trainer import Trainer

_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Weights, optimiser, random states, and the epochs that led here.

    Only tensors and plain values, so that it can be read with ``weights_only=True``.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    random: dict[str, torch.Tensor]
    epochs: list[dict[str, Any]]

    @staticmethod
    def of(trainer: Trainer, generator: torch.Generator, done: list[EpochDone]) -> Checkpoint:
        """Return the state between two epochs."""
        return Checkpoint(
            trainer.model.state_dict(),
            trainer.optimizer.state_dict(),
            {"order": generator.get_state(), **_random_states(generator.device)},
            [
                {"history": event.history.to_dict(), "flow": [row.to_dict() for row in event.flow]}
                for event in done
            ],
        )

    def save(self, path: str) -> None:
        """Write it whole or not at all.

        Raises
        ------
        GradflowError
            If it cannot be written.
        """
        temporary = Path(f"{path}.tmp")
        with _writing(path):
            torch.save({"format": _FORMAT, **vars(self)}, temporary)
            temporary.replace(path)

    def restore(self, trainer: Trainer, generator: torch.Generator) -> list[EpochDone]:
        """Put the state back; return the epochs that led to it, marked as restored."""
        trainer.model.load_state_dict(self.model)
        trainer.optimizer.load_state_dict(self.optimizer)
        generator.set_state(self.random["order"].cpu())
        _set_random_states(self.random, generator.device)
        return [
            EpochDone(
                HistoryRow(**epoch["history"]),
                tuple(FlowRow(**row) for row in epoch["flow"]),
                restored=True,
            )
            for epoch in self.epochs
        ]


def load(path: str) -> Checkpoint | None:
    """Return the checkpoint in a file; None where there is no file.

    Raises
    ------
    GradflowError
        If the file is damaged.
    """
    if not Path(path).exists():
        return None
    try:
        stored = torch.load(path, weights_only=True, map_location="cpu")
        if stored.pop("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        return Checkpoint(**stored)
    except Exception as error:  # torch.load raises many kinds
        reason = str(error).splitlines()[0]
        raise GradflowError(
            f"checkpoint '{path}' is damaged: {reason}", "delete it: its run begins anew"
        ) from error


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
        raise GradflowError(f"cannot write '{path}': {error}") from error
