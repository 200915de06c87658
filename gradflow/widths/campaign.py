"""The networks of a width check: one of every width and seed, trained wherever there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gradflow.configs.width import WidthConfig
from gradflow.executors.tasks import Place, run_each
from gradflow.widths import repair
from gradflow.widths.coordinates import Trained, trained
from gradflow.widths.subjects import Maker

#: Called with (networks trained, networks in all).
Progress = Callable[[int, int], None]
#: Of torch, wherever a task runs: numbers depend on how sums are split.
THREADS = 1


@dataclass(frozen=True)
class Task:
    """A network of one width and seed, as sent to where it is trained.

    Attributes
    ----------
    source
        The lines that repair it before its first step.
    """

    maker: Maker
    config: WidthConfig
    width: int
    seed: int
    source: str = ""


def train_task(task: Task) -> Trained:
    """Train a task's network, wherever it runs."""
    start = task.maker.start(task.width, task.seed, task.config)
    if task.source:
        repair.apply(task.source, start.model, start.optimizer, task.width)
    return trained(start, task.width, task.seed, task.config.steps)


@dataclass
class Campaign:
    """All networks of one check, and what became of them."""

    maker: Maker
    config: WidthConfig
    seeds: tuple[int, ...]
    progress: Progress
    done: int = 0
    total: int = 0
    finished: bool = True
    failed: list[tuple[str, str]] = field(default_factory=list)

    def train(self, source: str = "") -> list[Trained]:
        """Train a network of every width and seed; return those that could be, in order."""
        tasks = [
            Task(self.maker, self.config, width, seed, source)
            for seed in self.seeds
            for width in self.config.widths
        ]
        found: dict[int, Trained] = {}
        self.total += len(tasks)

        def on_value(number: int, value: Trained) -> None:
            found[number] = value
            self.done += 1
            self.progress(self.done, self.total)

        self.progress(self.done, self.total)
        place = Place(self.config.workers, self.config.cluster, THREADS)
        outcome = run_each(train_task, tasks, place, on_value)
        self.finished = self.finished and outcome.finished
        self.failed += _named([(tasks[n], why) for n, why in sorted(outcome.failed.items())])
        return [found[number] for number in sorted(found)]


def _named(failed: Iterable[tuple[Task, str]]) -> list[tuple[str, str]]:
    """Name what could not be trained, seeds that failed in the same way together."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for task, why in failed:
        what = f"width {task.width}{', repaired' if task.source else ''}"
        seeds.setdefault((what, why), []).append(str(task.seed))
    return [(f"{what}, seed {', '.join(own)}", why) for (what, why), own in seeds.items()]
