"""Progress on stderr; quiet where stderr is not a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextlib.contextmanager
def bar(*columns: TextColumn) -> Iterator[Progress]:
    """Give a progress bar with an ETA; it disappears when it is done."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    if progress.disable:  # older releases of rich end even a disabled one with an empty line
        yield progress
        return
    with progress:
        yield progress


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something of unknown length is under way."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} …"):
        yield


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that takes (done, total)."""
    with bar() as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str, int, int, float], None]]:
    """Give a function that takes (stage, step, steps, loss); a line for each stage."""
    with bar(TextColumn("{task.fields[loss]}")) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=steps, loss="")
            progress.update(tasks[stage], completed=step, loss=f"loss {loss:.4g}")

        yield advance


@contextlib.contextmanager
def training_runs(total_epochs: int) -> Iterator[Callable[[Any], None]]:
    """Give a function that takes what a benchmark emits.

    A terminal gets a line per running training, and a total with an ETA; anything else a line
    per finished epoch.
    """
    with bar(TextColumn("{task.fields[note]}")) as progress:
        total = progress.add_task("epochs", total=total_epochs, note="")
        yield _Epochs(progress, total)


class _Epochs:
    """Shows `Progress` and `HistoryRow` events as they come."""

    def __init__(self, progress: Progress, total: TaskID) -> None:
        self.progress, self.total = progress, total
        self.running: dict[str, TaskID] = {}

    def __call__(self, event: Any) -> None:
        name = f"{event.activation}, seed {event.seed}"
        if hasattr(event, "step"):
            self._step(name, event)
        else:
            self._epoch(name, event)

    def _step(self, name: str, event: Any) -> None:
        if name not in self.running:
            self.running[name] = self.progress.add_task(name, total=event.steps, note="")
        note = f"loss {event.loss:.3f}, {event.accuracy:.1%}, {event.images_per_second:,.0f}/s"
        self.progress.update(
            self.running[name], completed=event.step, total=event.steps, note=note,
            description=f"{name}, epoch {event.epoch}/{event.epochs}",
        )  # fmt: skip

    def _epoch(self, name: str, row: Any) -> None:
        line = f"{name}, epoch {row.epoch}: test accuracy {row.test_accuracy:.2%}, "
        line += f"loss {row.test_loss:.4f} ({row.seconds:.1f} s)"
        self.progress.console.print(line, highlight=False, style="dim", soft_wrap=True)
        self.progress.advance(self.total)
        if name in self.running:
            self.progress.remove_task(self.running.pop(name))
