"""A training run on disk: what it needs to go on as if it had never stopped."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gradflow.benchmarking.events import EpochDone
from gradflow.benchmarking.storage import files, rows
from gradflow.errors import GradflowError
from gradflow.results.benchmark import FlowRow, HistoryRow, Setting
from gradflow.training.trainer import Trainer

_FORMAT = 2
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Origin:
    """Whose checkpoint it is: of which run folder, setting and seed."""

    run: str
    setting: Setting
    seed: int


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

    def save(self, path: str, origin: Origin) -> None:
        """Write it whole or not at all, with a digest of all that it holds.

        Raises
        ------
        GradflowError
            If it cannot be written.
        """
        stored = {"format": _FORMAT, "run": origin.run, **vars(self)}
        written = io.BytesIO()  # of a full disk torch says something else
        torch.save({**stored, "digest": _digest(stored)}, written)
        with files.replacing(Path(path)) as temporary:
            temporary.write_bytes(written.getbuffer())

    def restore(self, trainer: Trainer, generator: torch.Generator) -> list[EpochDone]:
        """Put the state back; return the epochs that led to it, marked as restored."""
        trainer.model.load_state_dict(self.model)
        trainer.optimizer.load_state_dict(self.optimizer)
        generator.set_state(self.random["order"].cpu())
        _set_random_states(self.random, generator.device)
        return self.events()

    def events(self) -> list[EpochDone]:
        """Return the epochs, marked as restored.

        Raises
        ------
        ValueError
            If there is one that is none.
        """
        return [
            EpochDone(
                rows.checked(epoch["history"], HistoryRow),
                tuple(rows.checked(row, FlowRow) for row in epoch["flow"]),
                restored=True,
            )
            for epoch in self.epochs
        ]


def load(path: str, origin: Origin) -> Checkpoint | None:
    """Return the checkpoint in a file; None where there is no file.

    Raises
    ------
    GradflowError
        If the file is damaged, was changed, or is that of another run.
    """
    content = files.content(Path(path), _MOST_BYTES)
    if content is None:
        return None
    with damaged(path):
        stored = _unpacked(content)
        if stored.get("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        if stored.pop("digest", None) != _digest(stored):
            raise ValueError("its contents are not those that were written")
        del stored["format"]
        if stored.pop("run") != origin.run:
            raise ValueError("it is of another run")
        checkpoint = Checkpoint(**stored)
        _check_epochs(checkpoint.events(), origin)
        return checkpoint


@contextlib.contextmanager
def damaged(path: str) -> Iterator[None]:
    """Say of any error in the block that the checkpoint is damaged.

    Raises
    ------
    GradflowError
        With what to do.
    """
    try:
        yield
    except Exception as error:  # torch raises many kinds, with advice that nobody should follow
        reason = error if isinstance(error, ValueError) else "it is no checkpoint of this run"
        raise GradflowError(
            f"checkpoint '{path}' is damaged: {reason}", "delete it: its run begins anew"
        ) from error


def _unpacked(content: bytes) -> dict[str, Any]:
    """Return what torch wrote, which is an archive of what it holds, not compressed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > len(content) or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
            raise ValueError("it is compressed")
    stored = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    if not isinstance(stored, dict):
        raise ValueError("it holds no checkpoint")
    return stored


def _check_epochs(events: list[EpochDone], origin: Origin) -> None:
    """Refuse what was trained with another setting or seed, and epochs that do not follow."""
    for number, event in enumerate(events, start=1):
        of_epoch: tuple[HistoryRow | FlowRow, ...] = (event.history, *event.flow)
        for row in of_epoch:
            if (row.setting, row.seed) != (origin.setting, origin.seed):
                raise ValueError(f"it was trained as {row.activation}, seed {row.seed}")
            if row.epoch != number:
                raise ValueError(f"it has epoch {row.epoch} in the place of epoch {number}")


def _digest(stored: dict[str, Any]) -> str:
    total = hashlib.sha256()
    _add(total, stored)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    """Add a plain value or tensor to a hash, with the types and lengths of all that it holds."""
    if isinstance(value, torch.Tensor):
        total.update(f"{value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, dict):
        total.update(f"dict {len(value)}".encode())
        for key, one in value.items():
            _add(total, key)
            _add(total, one)
    elif isinstance(value, list | tuple):
        total.update(f"list {len(value)}".encode())
        for one in value:
            _add(total, one)
    else:
        total.update(f"{type(value).__name__} {value!r}".encode())


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
