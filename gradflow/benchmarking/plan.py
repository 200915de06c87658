"""What a benchmark would run, and how long it would take, measured by a few steps."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gradflow.benchmarking import checks
from gradflow.benchmarking.data import splitting
from gradflow.benchmarking.run import check_sizes, checked, planned, spread
from gradflow.benchmarking.storage.folder import RunDirectory
from gradflow.benchmarking.storage.journal import Run, finished
from gradflow.benchmarking.worker import TrainingRun, examples, trainer
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.errors import GradflowError
from gradflow.executors.tasks import run_each
from gradflow.findings.check import judged
from gradflow.results.base import Facts, RunMeta
from gradflow.results.benchmark import PlanResult, PlanRow, Setting

_WARM_UP, _STEPS = 2, 5
#: Fields of a setting that a step's time depends on; a rate or an initialisation costs nothing.
_TIMED = ("activation", "arch", "optimizer", "batch_size")


@dataclass(frozen=True)
class Cost:
    """Of one setting: seconds per training step, and per image that is evaluated."""

    setting: Setting
    step: float
    evaluation: float


def benchmark_plan(
    config: BenchmarkConfig = BenchmarkConfig(),  # noqa: B008
    on_progress: Callable[[int, int], None] | None = None,
) -> PlanResult:
    """Time a few steps of every setting, side by side as they would run; return the estimate.

    Settings that differ in nothing that takes time are timed once. Nothing is trained and nothing
    is written.

    Parameters
    ----------
    config
        As for `gradflow.benchmark`.
    on_progress
        Called with (measured, to be measured).

    Raises
    ------
    GradflowError
        As `gradflow.benchmark`.
    """
    device = checked(config)
    costs: dict[Setting, Cost] = {}
    with splitting(config) as split:
        check_sizes(config, split)
        runs = _missing(config, planned(config), split.digest)
        side = spread(config, len(planned(config)), device)
        alike: dict[Setting, Setting] = {}
        for setting in dict(runs):
            alike.setdefault(_timed(setting), setting)
        tasks = [TrainingRun(s, config.seed, config, split) for s in alike.values()]

        def on_value(_: int, cost: Cost) -> None:
            costs[_timed(cost.setting)] = cost
            if on_progress is not None:
                on_progress(len(costs), len(tasks))

        outcome = run_each(measure, tasks, side.place(), on_value)
    if outcome.failed:
        raise GradflowError(next(iter(outcome.failed.values())))
    sizes = dict(split.sizes)
    rows = [
        _row(
            replace(cost, setting=setting),
            runs,
            config.epochs,
            sizes["train"],
            sizes["validation"] + sizes["test"],
        )
        for setting in dict(runs)
        if (cost := costs.get(_timed(setting))) is not None
    ]
    result = PlanResult(
        records=tuple(rows),
        facts=Facts(interrupted=not outcome.finished),
        meta=RunMeta(device=str(device), dtype=config.precision, threads=side.threads),
        runs=len(runs),
        workers=side.workers,
        seconds=wall_seconds(
            {row.setting: row.seconds / row.runs for row in rows}, runs, side.workers
        ),
    )
    return judged(result, checks.PLAN_CHECKS)


def measure(task: TrainingRun) -> Cost:
    """Return what the task's setting costs."""
    from gradflow.training.devices import select
    from gradflow.training.trainer import Examples, arithmetic, evaluate, seeded

    device = select(task.config.device)
    with arithmetic(task.config.precision, device), seeded(task.seed, device):
        parts, training = examples(task.split, device), trainer(task, device)
        batch = parts["train"].take(slice(task.setting.batch_size))
        steps = [_seconds(lambda: training.step(*batch).tolist()) for _ in range(_WARM_UP + _STEPS)]
        test = parts["test"]
        some = Examples(test.images[:500], test.labels[:500])
        looks = [_seconds(lambda: evaluate(training.model, some)) for _ in range(2)]
    return Cost(task.setting, statistics.median(steps[_WARM_UP:]), looks[-1] / len(some))


def _timed(setting: Setting) -> Setting:
    """Return the setting with only what a step's time depends on."""
    return Setting(**{name: getattr(setting, name) for name in _TIMED})


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _missing(config: BenchmarkConfig, runs: list[Run], data: str) -> list[Run]:
    if not config.resume or config.output_dir is None:
        return runs
    folder = RunDirectory(Path(config.output_dir))
    folder.check(config.settings(), data, config.resume)
    done = finished(folder.history(), config.epochs)
    return [run for run in runs if run not in done]


def _row(cost: Cost, runs: Iterable[Run], epochs: int, trained: int, evaluated: int) -> PlanRow:
    setting = cost.setting
    count = sum(own == setting for own, _ in runs)
    steps = -(-trained // setting.batch_size)
    return PlanRow(
        **vars(setting),
        runs=count,
        epochs=epochs,
        steps=steps,
        seconds_per_step=cost.step,
        images_per_second=min(setting.batch_size, trained) / cost.step,
        seconds=count * epochs * (steps * cost.step + evaluated * cost.evaluation),
    )


def wall_seconds(each: dict[Setting, float], runs: Iterable[Run], workers: int) -> float:
    """Return when the last of the runs ends, each given to the worker that is free first."""
    free = [0.0] * workers
    for setting, _ in runs:
        heapq.heapreplace(free, free[0] + each.get(setting, 0.0))
    return max(free)
