"""Activations compared by training the article's network with each, over seeds.

Importing this module does not import torch; running a benchmark does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow import executors
from gradflow.activations import Activation, activation
from gradflow.configs import BenchmarkConfig
from gradflow.errors import GradflowError
from gradflow.mnist import Dataset, load
from gradflow.results.base import RunMeta, plain
from gradflow.results.benchmark import BenchmarkResult, HistoryRow, findings, summarize
from gradflow.rundir import Recorder, RunDirectory

if TYPE_CHECKING:
    import torch

    from gradflow.training import Clip, Examples


@dataclass(frozen=True)
class Progress:
    """Where one training run is; loss and accuracy are means over the epoch so far."""

    activation: str
    seed: int
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float

    @property
    def label(self) -> str:
        """The task in words."""
        return f"{self.activation}, seed {self.seed}"


@dataclass(frozen=True)
class _Task:
    activation: str
    seed: int
    config: BenchmarkConfig


Event = Progress | HistoryRow
OnEvent = Callable[[Event], None]


def run(config: BenchmarkConfig, on_event: OnEvent | None = None) -> BenchmarkResult:
    """Train the article's network with every activation and seed; return what came of it.

    Each run is a task with its own seed and ``processors // tasks`` threads (at least one), on
    `workers` processes: the numbers do not depend on how many there are. Ctrl-C ends it early;
    the result then holds the finished epochs and a finding ``interrupted``.

    Parameters
    ----------
    on_event
        Called in this process with a `Progress` every few steps and a `HistoryRow` after every
        epoch, of whichever run is there.

    Raises
    ------
    GradflowError
        For unknown names, an unavailable device, unusable data or an unusable `output_dir`.
    """
    names = list(activations(config))
    device, train_size, test_size = _checked(config)
    recorder = Recorder(_folder(config), config.epochs, on_event)
    tasks = [
        _Task(name, seed, config)
        for seed in range(config.seed, config.seed + config.seeds)
        for name in names
    ]
    threads = max(1, executors.cores() // len(tasks))
    side_by_side = executors.cores() // threads if device.type == "cpu" else 1
    complete = executors.run(
        _train,
        [task for task in tasks if (task.activation, task.seed) not in recorder.finished],
        workers=config.workers or min(side_by_side, len(tasks)),
        threads=threads,
        on_event=recorder,
    )
    _examples.cache_clear()
    history = recorder.ordered(names)
    wanted = len(tasks) * config.epochs
    records = summarize(history, names, train_size)
    return BenchmarkResult(
        records=records,
        findings=tuple(findings(records, history, None if complete else wanted)),
        meta=_meta(config, device, threads),
        aggregate_images_per_second=recorder.aggregate(train_size),
        train_size=train_size,
        test_size=test_size,
        epochs=config.epochs,
        history=history,
    )


def activations(config: BenchmarkConfig) -> dict[str, Activation]:
    """Return the activations by canonical name, each once, with `alpha` where it belongs."""
    named = {activation(name).name: activation(name) for name in config.act}
    if config.alpha is None:
        return named
    takers = [name for name, act in named.items() if "alpha" in act.parameters]
    for name in takers or named:  # raises where there is none
        named[name] = activation(name, alpha=config.alpha)
    return named


def _train(task: _Task, emit: Callable[[Event], None]) -> None:
    """Train one activation with one seed; emit a `Progress` now and then, a row per epoch."""
    from gradflow.convnet import article_network
    from gradflow.devices import select
    from gradflow.optimizers import optimizer
    from gradflow.training import Trainer, arithmetic, evaluate, seeded

    config, device = task.config, select(task.config.device)
    images, training_set, test_set = _examples(config.data, config.train_size, device)
    act = activations(config)[task.activation]
    with arithmetic(config.precision, device), seeded(task.seed, device) as generator:
        model = article_network(act, images.input_shape, images.classes).to(device)
        update = optimizer(config.optimizer, model.parameters(), config.lr)
        trainer = Trainer(model, update, _clip(config), config.precision)
        for epoch in range(1, config.epochs + 1):

            def on_step(*numbers: Any, epoch: int = epoch) -> None:
                emit(Progress(task.activation, task.seed, epoch, config.epochs, *numbers))

            done = trainer.epoch(training_set, config.batch_size, generator, on_step)
            test_loss, test_accuracy = evaluate(model, test_set, config.precision)
            emit(
                HistoryRow(
                    task.activation, task.seed, epoch, done.loss, done.accuracy,
                    test_loss, test_accuracy, done.gradient_norm, done.seconds,
                )
            )  # fmt: skip


@functools.lru_cache(maxsize=1)  # for the next task of this process
def _examples(
    data: str, train_size: int | None, device: torch.device
) -> tuple[Dataset, Examples, Examples]:
    from gradflow.training import Examples

    images = _load(data)
    part = slice(train_size)
    return (
        images,
        Examples.upload(images.train_images[part], images.train_labels[part], device),
        Examples.upload(images.test_images, images.test_labels, device),
    )


def _load(data: str) -> Dataset:
    return load(None if data == "mnist" else data)


def _clip(config: BenchmarkConfig) -> Clip | None:
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_

    if config.clip_norm is not None:
        return functools.partial(clip_grad_norm_, max_norm=config.clip_norm)
    if config.clip_value == 0:
        return None
    return functools.partial(clip_grad_value_, clip_value=config.clip_value)


def _checked(config: BenchmarkConfig) -> tuple[torch.device, int, int]:
    """Return device and numbers of training and test images, after every check there is."""
    import torch

    from gradflow.convnet import check_size
    from gradflow.devices import select
    from gradflow.optimizers import optimizer
    from gradflow.training import check_precision

    device = select(config.device)
    check_precision(config.precision, device)
    optimizer(config.optimizer, [torch.nn.Parameter(torch.zeros(1))], config.lr)
    images = _load(config.data)
    check_size(images.input_shape)
    available = len(images.train_images)
    if (config.train_size or 0) > available:
        raise GradflowError(
            f"--train-size {config.train_size} is more than the {available:,} images "
            f"of {images.name}"
        )
    return device, config.train_size or available, len(images.test_images)


def _folder(config: BenchmarkConfig) -> RunDirectory | None:
    if config.output_dir is None:
        return None
    return RunDirectory(Path(config.output_dir), config.settings(), config.resume)


def _meta(config: BenchmarkConfig, device: torch.device, threads: int) -> RunMeta:
    import torch

    return RunMeta(
        torch=torch.__version__,
        device=str(device),
        dtype=config.precision,
        seeds=tuple(range(config.seed, config.seed + config.seeds)),
        threads=threads,
        config=plain(dataclasses.asdict(config)),
    )
