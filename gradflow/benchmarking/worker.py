"""One training run: a setting, a seed, all its epochs, and what it says of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow.benchmarking.data import Part, Split
from gradflow.benchmarking.events import EpochDone, Event, Progress
from gradflow.benchmarking.grid import activations
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.results.benchmark import FlowRow, HistoryRow, Setting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gradflow.benchmarking.flow import FlowRecorder
    from gradflow.benchmarking.storage.checkpoints import Checkpoint, Origin
    from gradflow.training.trainer import Clip, Epoch, Examples, Trainer

Emit = Callable[[Event], None]
_PROBE = 1000  # images that activations are looked at with, after each epoch


@dataclass(frozen=True)
class TrainingRun:
    """One setting with one seed, as sent to a worker.

    Attributes
    ----------
    checkpoint, run
        The file that it goes on from, and the number of the run that this has to be of.
    """

    setting: Setting
    seed: int
    config: BenchmarkConfig
    split: Split
    checkpoint: str | None = None
    run: str = ""

    def origin(self) -> Origin:
        """Return what its checkpoint has to be of."""
        from gradflow.benchmarking.storage.checkpoints import Origin

        return Origin(self.run, self.setting, self.seed)


def train(task: TrainingRun, emit: Emit) -> None:
    """Train one setting with one seed; emit a `Progress` now and then, an `EpochDone` per epoch."""
    from gradflow.training.trainer import arithmetic, seeded

    device = _device(task)
    with arithmetic(task.config.precision, device), seeded(task.seed, device) as generator:
        run = _Session(task, device, generator, emit)
        run.restore()
        while run.epoch < task.config.epochs:
            run.next_epoch()


class _Session:
    """A training run between two epochs."""

    def __init__(
        self, task: TrainingRun, device: torch.device, generator: torch.Generator, emit: Emit
    ) -> None:
        from gradflow.benchmarking.flow import FlowRecorder

        self.task, self.emit, self.device, self.generator = task, emit, device, generator
        self.parts = examples(task.split, device)
        self.trainer = trainer(task, device)
        self.flow: FlowRecorder = FlowRecorder(self.trainer.model)
        self.trainer.observer = self.flow
        self.epoch = 0
        self.done: list[EpochDone] = []

    def next_epoch(self) -> None:
        """Train one epoch, evaluate, keep a checkpoint, and say so."""
        self.epoch += 1
        task, trained = self.task, self.parts["train"]
        batch_size = task.setting.batch_size
        self.flow.start(-(-len(trained) // batch_size))
        epoch = self.trainer.epoch(trained, batch_size, self.generator, self._on_step)
        self.done.append(EpochDone(self._history(epoch), self._flow()))
        if task.checkpoint is not None and _reaches(task):
            self._checkpoint().save(task.checkpoint, task.origin())
        self.emit(self.done[-1])

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one, and say again what had been said."""
        from gradflow.benchmarking.storage.checkpoints import damaged, load

        file = self.task.checkpoint
        stored = load(file, self.task.origin()) if file else None
        if file and stored is not None:
            with damaged(file):
                self.done = stored.restore(self.trainer, self.generator)
            self.epoch = len(self.done)
            for event in self.done:
                self.emit(event)

    def _on_step(self, *numbers: Any) -> None:
        task = self.task
        self.emit(Progress(task.setting, task.seed, self.epoch, task.config.epochs, *numbers))

    def _history(self, epoch: Epoch) -> HistoryRow:
        from gradflow.training.trainer import evaluate

        model, precision = self.trainer.model, self.task.config.precision
        validation = self.parts["validation"]
        held_out = evaluate(model, validation, precision) if len(validation) else (None, None)
        test_loss, test_accuracy = evaluate(model, self.parts["test"], precision)
        return HistoryRow(
            **vars(self.task.setting),
            seed=self.task.seed,
            epoch=self.epoch,
            train_loss=epoch.loss,
            train_accuracy=epoch.accuracy,
            validation_loss=held_out[0],
            validation_accuracy=held_out[1],
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            gradient_norm=epoch.gradient_norm,
            seconds=epoch.seconds,
        )

    def _flow(self) -> tuple[FlowRow, ...]:
        probe = self.parts["validation"] if len(self.parts["validation"]) else self.parts["test"]
        images, _ = probe.take(slice(_PROBE))
        return tuple(
            FlowRow(**vars(self.task.setting), seed=self.task.seed, epoch=self.epoch, **layer)
            for layer in self.flow.layers(images, self.task.config.precision)
        )

    def _checkpoint(self) -> Checkpoint:
        from gradflow.benchmarking.storage.checkpoints import Checkpoint

        return Checkpoint.of(self.trainer, self.generator, self.done)


def trainer(task: TrainingRun, device: torch.device) -> Trainer:
    """Return the network of a task on its device, with its optimiser and clipping."""
    from gradflow.benchmarking.networks.classifiers import classifier
    from gradflow.training.optimizers import optimizer
    from gradflow.training.trainer import Trainer

    setting, config = task.setting, task.config
    act = activations(config)[setting.activation]
    model: nn.Module = classifier(
        setting.arch,
        act,
        task.split.input_shape,
        task.split.classes,
        dropout=setting.dropout,
        init=setting.init,
    ).to(device)
    update = optimizer(setting.optimizer, model.parameters(), setting.lr)
    return Trainer(model, update, clipping(setting.clip), config.precision)


def clipping(words: str) -> Clip | None:
    """Return what clips gradients as `Setting.clip` says."""
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_

    kind, _, threshold = words.partition(" ")
    if kind == "none":
        return None
    if kind == "norm":
        return functools.partial(clip_grad_norm_, max_norm=float(threshold))
    return functools.partial(clip_grad_value_, clip_value=float(threshold))


@functools.lru_cache(maxsize=1)  # for the next task of this process
def examples(split: Split, device: torch.device) -> dict[Part, Examples]:
    """Return the parts of the data on the device."""
    from gradflow.training.trainer import Examples

    return {part: Examples.upload(*split.arrays(part), device) for part in split.parts}


def _reaches(task: TrainingRun) -> bool:
    """Return whether the run's folder is there: of a cluster not every machine need share it."""
    return task.config.cluster is None or Path(task.checkpoint or "").parent.is_dir()


def _device(task: TrainingRun) -> torch.device:
    from gradflow.training.devices import select

    return select(task.config.device)
