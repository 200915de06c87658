"""`gradflow benchmark`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gradflow.cli import opening
from gradflow.cli.endings import interrupts_wait
from gradflow.cli.output import Output
from gradflow.cli.stray import meant
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.fields import several
from gradflow.errors import GradflowError

QUICK: dict[str, Any] = {"train_size": 10_000, "validation_size": 2_000, "epochs": 3}


def benchmark(
    config: BenchmarkConfig,
    output: Output,
    quick: Annotated[
        bool, typer.Option("--quick", help="10,000 training images, 2,000 held out, 3 epochs.")
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="ACT", help="Leave this activation out. Repeatable."),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what would be run and how long it would take; stop."),
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="DIR", help="Show and compare stored runs; train nothing. Repeatable."
        ),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[DIR]...", help="Further folders for --from.")
    ] = None,
) -> None:
    """Train the article's CNN on MNIST once per activation, everything else held constant.

    Options of the training panel take several values, as --lr 1e-3,1e-4: every combination is run.
    """
    if not source:  # whose activations are those that were trained
        config = dataclasses.replace(config, act=_without(several(config.act), skip or []))
    usual_sizes = config
    if quick:
        config = _quick(config)
    if more and not source:
        raise GradflowError(
            f"unexpected argument '{more[0]}'",
            f"--act {','.join([*_named(config), *more])}"
            if meant(more[0], {"--act"})
            else f"--from {more[0]} reads a run",
        )
    if source:
        from gradflow.benchmarking.stored import read_benchmark

        output.emit(read_benchmark([*source, *(more or [])], config.target, skip or []))
        return
    opening.benchmarking(output, usual_sizes, plan)
    if plan:
        _plan(config, output)
    else:
        _train(config, output)


def _named(config: BenchmarkConfig) -> tuple[str, ...]:
    """Return the activations that were asked for."""
    acts = several(config.act)
    return () if acts == BenchmarkConfig.act else acts


def _quick(config: BenchmarkConfig) -> BenchmarkConfig:
    """Change what was left at its default: `--quick --epochs 1` trains for one epoch."""
    default = BenchmarkConfig()
    left = {k: v for k, v in QUICK.items() if getattr(config, k) == getattr(default, k)}
    return dataclasses.replace(config, **left)


def _plan(config: BenchmarkConfig, output: Output) -> None:
    from gradflow.cli.progress import counting

    with counting("measuring") as progress:
        from gradflow.benchmarking.plan import benchmark_plan

        result = benchmark_plan(config, progress)
    output.emit(result)


def _train(config: BenchmarkConfig, output: Output) -> None:
    from gradflow.benchmarking.run import benchmark as train
    from gradflow.benchmarking.run import planned
    from gradflow.cli.progress import training_runs
    from gradflow.executors.processes import keep_freed_memory

    keep_freed_memory()
    with training_runs(len(planned(config)), config.epochs) as show:
        result = train(config, _keeping(config, show))
    if config.output_dir is not None:
        _keep(result, config.output_dir)
    output.emit(result)


def _keeping(config: BenchmarkConfig, show: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what takes events: shows them, and after every run keeps figure and table so far."""

    def take(event: Any) -> None:
        show(event)
        history = getattr(event, "history", None)
        last = history is not None and history.epoch == config.epochs and not event.restored
        if last and config.output_dir is not None:
            from gradflow.benchmarking.stored import read_benchmark

            _keep(read_benchmark([config.output_dir], config.target), config.output_dir)

    return take


def _keep(result: Any, folder: str) -> None:
    """Write a run's result, table and figure into its folder."""
    from gradflow import report
    from gradflow.benchmarking.storage.folder import VIEWS

    with interrupts_wait():
        report.save_all(result, [f"{folder}/{name}" for name in VIEWS])


def _without(acts: tuple[str, ...], skipped: list[str]) -> tuple[str, ...]:
    """Return the activations but those to skip, whatever they are called.

    Raises
    ------
    GradflowError
        If a name is unknown, or one that is skipped would not have been trained.
    """
    from gradflow.activations import activation

    kept = {activation(name).name: name for name in acts}
    for name in skipped:
        if kept.pop(activation(name).name, None) is None:
            raise GradflowError(f"--skip {name}: it is not among {', '.join(acts)}", "drop it")
    return tuple(kept.values())
