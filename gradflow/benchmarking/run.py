"""A benchmark from config to result.

Importing this module does not import torch; running a benchmark does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow.benchmarking import checks
from gradflow.benchmarking.data import Split, splitting
from gradflow.benchmarking.events import Event
from gradflow.benchmarking.grid import settings
from gradflow.benchmarking.rows import summarize
from gradflow.benchmarking.storage.environment import Environment
from gradflow.benchmarking.storage.folder import RunDirectory, locked
from gradflow.benchmarking.storage.journal import Journal, Run
from gradflow.benchmarking.worker import TrainingRun, train
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.fields import required, several
from gradflow.errors import GradflowError
from gradflow.executors import processes
from gradflow.executors.tasks import Place, run_each
from gradflow.findings.check import judged
from gradflow.findings.thresholds import EQUAL
from gradflow.results.base import RunMeta, plain
from gradflow.results.benchmark import (
    BenchmarkFacts,
    BenchmarkResult,
    FlowRow,
    HistoryRow,
    labels,
)

if TYPE_CHECKING:
    import torch

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Side:
    """How the runs of a benchmark are spread over the machine.

    Every run has the same number of threads, whatever `workers` is: the numbers depend on it.
    """

    workers: int
    threads: int

    def place(self, cluster: str | None = None) -> Place:
        """Return where tasks run."""
        return Place(self.workers, cluster, self.threads)


def benchmark(
    config: BenchmarkConfig = BenchmarkConfig(),  # noqa: B008
    on_event: OnEvent | None = None,
) -> BenchmarkResult:
    """Train a network with every setting and seed; return what came of it.

    Each run is a task with its own seed and ``processors // tasks`` threads (at least one), on
    `workers` processes: the numbers do not depend on how many there are. Ctrl-C ends it early;
    the result then holds the finished epochs and a finding ``interrupted``.

    Parameters
    ----------
    config
        Activations and other settings, data, epochs, seeds; the article's six by default.
    on_event
        Called in this process with a `Progress` every few steps and an `EpochDone` after every
        epoch, of whichever run is there.

    Returns
    -------
    BenchmarkResult
        A row per setting; ``history`` has a row per epoch of each run.

    Raises
    ------
    GradflowError
        For unknown names, an unavailable device, unusable data or an unusable `output_dir`.
    """
    required(config, BenchmarkConfig, "benchmark")
    device = checked(config)
    runs = planned(config)
    with splitting(config) as split:
        check_sizes(config, split)
        with opened(config, split.digest) as folder:
            side = spread(config, len(runs), device, folder)
            meta = _meta(config, device, side.threads)
            journal = Journal(folder, on_event)
            missing = set(runs) - journal.finished(config.epochs)
            tasks = list(_tasks(config, split, folder, side.threads, missing, runs))
            if folder is not None:
                check_checkpoints(tasks)
                folder.begin(config.settings(), environment(meta, split), journal.events.values())
            outcome = run_each(train, tasks, side.place(config.cluster), on_event=journal)
    failed = _named([(tasks[n], why) for n, why in sorted(outcome.failed.items())])
    if failed and not journal.events:
        raise GradflowError("nothing was trained: {}: {}".format(*failed[0]))
    return assembled(
        journal.history(runs, config.epochs),
        journal.flow(runs, config.epochs),
        sizes=dict(split.sizes),
        epochs=config.epochs,
        target=config.target,
        aggregate=journal.aggregate(split.size("train")),
        meta=meta,
        facts=BenchmarkFacts(
            interrupted=not outcome.finished,
            wanted_epochs=len(runs) * config.epochs,
            failed=failed,
        ),
    )


def _named(failed: Sequence[tuple[TrainingRun, str]]) -> tuple[tuple[str, str], ...]:
    """Name runs that failed: what tells their setting from the others, and their seed."""
    words = labels(task.setting for task, _ in failed)
    return tuple((f"{words[task.setting]}, seed {task.seed}", why) for task, why in failed)


def planned(config: BenchmarkConfig) -> list[Run]:
    """Return every run, seed by seed."""
    found = settings(config)
    return [
        (setting, seed)
        for seed in range(config.seed, config.seed + config.seeds)
        for setting in found
    ]


def spread(
    config: BenchmarkConfig, runs: int, device: torch.device, folder: RunDirectory | None = None
) -> Side:
    """Return how so many runs are spread; a resumed one keeps its number of threads."""
    threads = max(1, processes.cores() // runs)
    if folder is not None and folder.marker is not None:
        threads = folder.marker.threads
    side_by_side = max(1, processes.cores() // threads) if device.type == "cpu" else 1
    return Side(config.workers or min(side_by_side, runs), threads)


@contextlib.contextmanager
def opened(config: BenchmarkConfig, data: str) -> Iterator[RunDirectory | None]:
    """Give the run folder of `config`, if it has one, which nobody else writes to meanwhile.

    Parameters
    ----------
    data
        The hash of the images' contents.

    Raises
    ------
    GradflowError
        If the folder is not this run's, or another process is at work in it.
    """
    if config.output_dir is None:
        yield None
        return
    path = Path(config.output_dir)
    RunDirectory(path).check(config.settings(), data, config.resume)
    with locked(path):
        folder = RunDirectory(path)  # as it is now that nobody else can change it
        folder.check(config.settings(), data, config.resume)
        yield folder


def check_checkpoints(tasks: Iterable[TrainingRun]) -> None:
    """Refuse a checkpoint that a run could not go on from, before anything is written."""
    from gradflow.benchmarking.storage.checkpoints import load

    for task in tasks:
        if task.checkpoint is not None:
            load(task.checkpoint, task.origin())


def _tasks(
    config: BenchmarkConfig,
    split: Split,
    folder: RunDirectory | None,
    threads: int,
    missing: set[Run],
    runs: Sequence[Run],
) -> Iterator[TrainingRun]:
    run = "" if folder is None else folder.identify(config.settings(), split.digest, threads).run
    for setting, seed in runs:
        if (setting, seed) in missing:
            file = None if folder is None else str(folder.checkpoint(setting, seed))
            yield TrainingRun(setting, seed, config, split, file, run)


def assembled(
    history: tuple[HistoryRow, ...],
    flow: tuple[FlowRow, ...],
    *,
    sizes: dict[Any, int],
    epochs: int,
    target: float | None,
    meta: RunMeta,
    aggregate: float | None = None,
    facts: BenchmarkFacts = BenchmarkFacts(),  # noqa: B008
) -> BenchmarkResult:
    """Return the result that these epochs make."""
    train_size, validation_size, test_size = (sizes[p] for p in ("train", "validation", "test"))
    summary = summarize(history, train_size, test_size, target)
    result = BenchmarkResult(
        records=summary.rows,
        meta=meta,
        facts=facts,
        aggregate_images_per_second=aggregate,
        train_size=train_size,
        validation_size=validation_size,
        test_size=test_size,
        epochs=epochs,
        target=target,
        reference=summary.reference,
        ties=summary.ties,
        equals=summary.equals,
        equal_within=EQUAL,
        history=history,
        flow=flow,
    )
    return judged(result, checks.CHECKS)


def checked(config: BenchmarkConfig) -> torch.device:
    """Return the device, after every check that needs no data.

    Raises
    ------
    GradflowError
        For what cannot be run.
    """
    import torch

    from gradflow.training.devices import select
    from gradflow.training.optimizers import optimizer
    from gradflow.training.trainer import check_precision

    device = select(config.device)
    check_precision(config.precision, device)
    parameter = torch.nn.Parameter(torch.zeros(1))
    for name in several(config.optimizer):
        for lr in several(config.lr):
            optimizer(name, [parameter], lr)
    settings(config)
    return device


def check_sizes(config: BenchmarkConfig, split: Split) -> None:
    """Refuse images that are too small for one of the networks."""
    from gradflow.benchmarking.networks.classifiers import check_images

    for name in several(config.arch):
        check_images(name.lower(), split.input_shape)


def environment(meta: RunMeta, split: Split) -> Environment:
    """Return where numbers come from: versions, machine, sizes of the data."""
    import numpy
    import torch

    return Environment(
        gradflow=meta.version,
        python=platform.python_version(),
        numpy=numpy.__version__,
        torch=torch.__version__,
        platform=platform.platform(),
        processor=platform.processor() or platform.machine(),
        cores=processes.cores(),
        threads=meta.threads,
        device=meta.device,
        precision=meta.dtype,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        data=split.name,
        sizes=dict(split.sizes),
        process=os.getpid(),
    )


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
