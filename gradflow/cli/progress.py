"""Progress on stderr; where that is no terminal, a line now and then of what takes long."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gradflow.report.console import stderr_console


@contextlib.contextmanager
def bar(*columns: TextColumn, width: int = 24, elapsed: bool = True) -> Iterator[Progress]:
    """Give a progress bar with an ETA; it disappears when it is done."""
    console = stderr_console()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=width),
        MofNCompleteColumn(),
        *([TimeElapsedColumn()] if elapsed else []),
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
    console = stderr_console()
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} …"):
        yield


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that takes (done, total)."""
    with bar() as progress:
        if progress.disable:
            log = Log()
            yield lambda done, total: log(what, done, total)
            return
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class Log:
    """Says now and then how far something long has got: in a file, where no bar can be drawn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.wait = clock, 10.0
        self.due = clock() + self.wait

    def __call__(self, what: str, done: int, total: int) -> None:
        """Write a line where one is due: after 10 seconds, and after twice as long each time."""
        if done == total or self.clock() < self.due:
            return
        self.wait = min(2 * self.wait, 300.0)
        self.due = self.clock() + self.wait
        line = f"… {what}: {done} of {total}"
        stderr_console().print(line, highlight=False, markup=False, soft_wrap=True)


class TwoStages:
    """Something under way, and then a bar; between the two, nothing."""

    def __init__(self, stack: contextlib.ExitStack, then: str) -> None:
        self.stack, self.then = stack, then
        self.update: Callable[[int, int], None] | None = None

    def end_first(self) -> None:
        """Take down what says that something is under way."""
        self.stack.pop_all().close()

    def __call__(self, done: int, total: int) -> None:
        """Show the bar."""
        if self.update is None:
            self.end_first()
            self.update = self.stack.enter_context(counting(self.then))
        self.update(done, total)


@contextlib.contextmanager
def working_then_counting(what: str, then: str) -> Iterator[TwoStages]:
    """Show that something is under way, and a bar once what is given is called."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(working(what))
        yield TwoStages(stack, then)


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str, int, int, float], None]]:
    """Give a function that takes (stage, step, steps, loss); a line for each stage."""
    with bar(TextColumn("{task.fields[loss]}")) as progress:
        if progress.disable:
            log = Log()
            yield lambda stage, step, steps, loss: log(f"{stage}, loss {loss:.4g}", step, steps)
            return
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=steps, loss="")
            progress.update(tasks[stage], completed=step, loss=f"loss {loss:.4g}")

        yield advance


@contextlib.contextmanager
def training_runs(runs: int, epochs: int) -> Iterator[Callable[[Any], None]]:
    """Give a function that takes what a benchmark emits.

    A terminal gets a line per running training, and a total with an ETA; anything else a line
    per finished epoch.
    """
    with bar(TextColumn("{task.fields[note]}"), width=8, elapsed=False) as progress:
        yield _Runs(progress, runs, epochs)


class _Runs:
    """Shows `Progress` and `EpochDone` events as they come."""

    def __init__(self, progress: Progress, runs: int, epochs: int) -> None:
        self.progress, self.epochs = progress, runs * epochs
        self.total = progress.add_task("all epochs", total=self.epochs, note="")
        self.running: dict[Any, tuple[TaskID, float]] = {}  # and the share of the epoch
        self.finished: set[Any] = set()  # an epoch that is trained again counts once

    def __call__(self, event: Any) -> None:
        if hasattr(event, "step"):
            self._step((event.setting, event.seed), event)
        else:
            self._epoch((event.history.setting, event.history.seed), event)
        parts = sum(share for _, share in self.running.values())
        self.progress.update(self.total, completed=round(len(self.finished) + parts, 1))

    def _step(self, run: Any, event: Any) -> None:
        task, _ = self.running.get(run) or (self.progress.add_task("", total=1, note=""), 0.0)
        self.running[run] = task, event.step / event.steps
        note = f"loss {event.loss:.3f}, {event.accuracy:.1%}, {event.images_per_second:,.0f}/s"
        self.progress.update(
            task,
            completed=event.step,
            total=event.steps,
            note=note,
            description=f"{_name(*run)}, epoch {event.epoch}/{event.epochs}",
        )

    def _epoch(self, run: Any, event: Any) -> None:
        row = event.history
        line = f"{_name(*run)}, epoch {row.epoch}: test accuracy {row.test_accuracy:.2%}, "
        line += f"loss {row.test_loss:.4f} "
        line += "(stored)" if event.restored else f"({row.seconds:.1f} s)"
        self.progress.console.print(line, highlight=False, style="dim", soft_wrap=True)
        self.finished.add((run, row.epoch))
        if run in self.running:
            self.progress.remove_task(self.running.pop(run)[0])


def _name(setting: Any, seed: int) -> str:
    """Name a run: its activation, what is not the article's, its seed."""
    words = [setting.activation]
    for f in dataclasses.fields(setting):
        value = getattr(setting, f.name)
        if f.name != "activation" and value != f.default:
            words.append(f"{f.name.replace('_', ' ')} {value}")
    return ", ".join([*words, f"seed {seed}"])
