"""Commands that train."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from gradflow.cli.options import expand_configs
from gradflow.cli.output import Output
from gradflow.configs import BenchmarkConfig
from gradflow.errors import GradflowError

QUICK: dict[str, Any] = {"train_size": 10_000, "epochs": 3}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(expand_configs(benchmark))


def benchmark(
    config: BenchmarkConfig,
    output: Output,
    quick: Annotated[
        bool, typer.Option("--quick", help="10,000 training images, 3 epochs.")
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="ACT", help="Leave this activation out. Repeatable."),
    ] = None,
) -> None:
    """Train the article's CNN on MNIST once per activation, everything else held constant."""
    from gradflow.cli.progress import training_runs

    config = dataclasses.replace(config, act=_without(config.act, skip or []))
    if quick:
        config = dataclasses.replace(config, **QUICK)
    from gradflow.benchmark import activations, run
    from gradflow.executors import keep_freed_memory

    keep_freed_memory()
    runs = len(activations(config)) * config.seeds
    with training_runs(runs * config.epochs) as on_event:
        result = run(config, on_event)
    output.emit(result)


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
