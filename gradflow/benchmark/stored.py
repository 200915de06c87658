"""Stored runs read back and compared, without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from gradflow.activations import activation
from gradflow.benchmark.events import EpochDone
from gradflow.benchmark.run import assembled
from gradflow.benchmark.storage.folder import RunDirectory
from gradflow.benchmark.storage.journal import in_order, stored
from gradflow.configs.fields import several
from gradflow.errors import GradflowError
from gradflow.results.base import RunMeta
from gradflow.results.benchmark import BenchmarkResult, Setting

S = TypeVar("S", bound=Setting)


def read(folders: Sequence[str], target: float | None = None) -> BenchmarkResult:
    """Return what the runs in these folders came to, as one result.

    Where there are several, each row says whose it is, and rows are compared across them.

    Raises
    ------
    GradflowError
        If a folder holds no run, or none that was tested on as many images as the first.
    """
    names = dict.fromkeys(str(Path(folder)) for folder in folders)
    directories = {name: RunDirectory(Path(name)) for name in names}
    environments = {name: directory.environment() for name, directory in directories.items()}
    sizes = _sizes(environments)
    events = [
        dataclasses.replace(
            event,
            history=_named(event.history, name, names),
            flow=tuple(_named(row, name, names) for row in event.flow),
        )
        for name, directory in directories.items()
        for event in _events(directory)
    ]
    return assembled(
        tuple(event.history for event in events),
        tuple(row for event in events for row in event.flow),
        sizes=sizes,
        epochs=max((event.history.epoch for event in events), default=0),
        target=target,
        meta=_meta(next(iter(environments.values())), directories, events),
    )


def _events(directory: RunDirectory) -> list[EpochDone]:
    """Return the epochs in a folder, its activations in the order in which they were asked for."""
    events = stored(directory).values()
    asked = [activation(name).name for name in several(directory.config().get("act", ()))]
    settings = dict.fromkeys(event.history.setting for event in events)
    known = [s for name in dict.fromkeys(asked) for s in settings if s.activation == name]
    return in_order(events, dict.fromkeys([*known, *settings]))


def _named(row: S, name: str, names: dict[str, Any]) -> S:
    return row if len(names) == 1 else dataclasses.replace(row, source=name)


def _sizes(environments: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Return the sizes of the data, which has to be the same: other accuracies compare nothing."""
    (first, one), *others = environments.items()
    for name, other in others:
        for key in ("data", "sizes"):
            if other.get(key) != one.get(key):
                raise GradflowError(
                    f"'{name}' was run on other data than '{first}': "
                    f"{_words(other)}, not {_words(one)}",
                    "compare runs of the same --data, --train-size and --validation-size",
                )
    try:
        return {part: int(one["sizes"][part]) for part in ("train", "validation", "test")}
    except (KeyError, TypeError, ValueError) as error:
        raise GradflowError(f"{first}: environment.json is damaged: no sizes") from error


def _words(environment: dict[str, Any]) -> str:
    sizes = environment.get("sizes") or {}
    return f"{environment.get('data')} ({', '.join(f'{k} {v:,}' for k, v in sizes.items())})"


def _meta(
    environment: dict[str, Any], directories: dict[str, RunDirectory], events: Sequence[EpochDone]
) -> RunMeta:
    return RunMeta(
        version=environment.get("gradflow", ""),
        torch=environment.get("torch"),
        device=environment.get("device"),
        dtype=environment.get("precision"),
        seeds=tuple(sorted({event.history.seed for event in events})),
        threads=environment.get("threads"),
        config={name: directory.config() for name, directory in directories.items()},
    )
