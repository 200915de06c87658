"""Stored runs read back and compared, without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from gradflow.activations import activation
from gradflow.benchmarking import grid
from gradflow.benchmarking.events import EpochDone
from gradflow.benchmarking.run import assembled
from gradflow.benchmarking.storage.environment import Environment
from gradflow.benchmarking.storage.folder import RunDirectory
from gradflow.benchmarking.storage.journal import in_order, stored
from gradflow.errors import GradflowError
from gradflow.results.base import RunMeta
from gradflow.results.benchmark import BenchmarkResult, Setting

S = TypeVar("S", bound=Setting)


def read_benchmark(
    folders: Sequence[str], target: float | None = None, skip: Sequence[str] = ()
) -> BenchmarkResult:
    """Return what the runs in these folders came to, as one result.

    Where there are several, each row says whose it is, and rows are compared across them.

    Parameters
    ----------
    folders
        Output folders of `gradflow.benchmark`.
    target
        Test accuracy; the result says how many epochs it took to reach it.
    skip
        Activations to leave out.

    Raises
    ------
    GradflowError
        If a folder holds no run, or none that was tested on as many images as the first.
    """
    names = dict.fromkeys(str(Path(folder)) for folder in folders)
    directories = {name: RunDirectory(Path(name)) for name in names}
    environments = {name: directory.environment() for name, directory in directories.items()}
    _refuse_other_data(directories, environments)
    environment = next(iter(environments.values()))
    left_out = {activation(name).name for name in skip}
    events = [
        dataclasses.replace(
            event,
            history=_named(event.history, name, names),
            flow=tuple(_named(row, name, names) for row in event.flow),
        )
        for name, directory in directories.items()
        for event in _events(directory)
        if event.history.activation not in left_out
    ]
    return assembled(
        tuple(event.history for event in events),
        tuple(row for event in events for row in event.flow),
        sizes=environment.sizes,
        epochs=max((event.history.epoch for event in events), default=0),
        target=target,
        meta=_meta(environment, directories, events),
    )


def _events(directory: RunDirectory) -> list[EpochDone]:
    """Return the epochs in a folder, its settings in the order in which they were asked for."""
    events = stored(directory).values()
    settings = dict.fromkeys(event.history.setting for event in events)
    return in_order(events, dict.fromkeys(grid.in_order(settings, directory.config())))


def _named(row: S, name: str, names: dict[str, Any]) -> S:
    return row if len(names) == 1 else dataclasses.replace(row, source=name)


def _refuse_other_data(
    directories: dict[str, RunDirectory], environments: dict[str, Environment]
) -> None:
    """Refuse runs on data that is not the same: other accuracies compare nothing."""
    (first, one), *others = environments.items()
    for name, other in others:
        words = [
            f"{e.data} ({', '.join(f'{k} {v:,}' for k, v in e.sizes.items())})"
            for e in (other, one)
        ]
        if words[0] == words[1] and _same_contents(directories[name], directories[first]):
            continue
        raise GradflowError(
            f"'{name}' was run on other data than '{first}': {words[0]}, not {words[1]}"
            + (" of other contents" if words[0] == words[1] else ""),
            "compare runs of the same --data, --train-size and --validation-size",
        )


def _same_contents(one: RunDirectory, other: RunDirectory) -> bool:
    """Whether two runs saw the same images; those of gradflow 0.1 do not say which they were."""
    return not one.marker or not other.marker or one.marker.data == other.marker.data


def _meta(
    environment: Environment, directories: dict[str, RunDirectory], events: Sequence[EpochDone]
) -> RunMeta:
    return RunMeta(
        version=environment.gradflow,
        torch=environment.torch,
        device=environment.device,
        dtype=environment.precision,
        seeds=tuple(sorted({event.history.seed for event in events})),
        threads=environment.threads,
        config={name: directory.config() for name, directory in directories.items()},
    )
