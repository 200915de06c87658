"""Tasks that are pure functions of what describes them, wherever there is room for them.

In this process, on processes of this machine, or on a dask cluster. One that fails, or whose
process dies, takes none of the others with it: it is named, and they go on. Numbers depend on the
number of threads (sums are split differently), so that is fixed, and the same wherever a task runs.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from gradflow.errors import GradflowError
from gradflow.executors.channels import (
    Channel,
    OnEvent,
    across_cluster,
    between_processes,
)
from gradflow.executors.cluster import Cluster, connected
from gradflow.executors.processes import (
    Pool,
    pool,
    refuse_in_the_making,
    submitted,
    torch_threads,
    unguarded,
)

#: Called with a task's place and what came of it.
OnValue = Callable[[int, Any], None]
#: What says that a task could not be done, and nothing of the program. Torch's own lack of memory
#: is a RuntimeError.
_FAILURES = (GradflowError, MemoryError, RuntimeError, OSError)
_DIED = "its process ended; there may be too little memory"
_GONE = "the cluster is gone"
#: Seconds after which a channel is looked into.
_PATIENCE = 0.1


@dataclass(frozen=True)
class Place:
    """Where tasks run.

    Attributes
    ----------
    workers
        1: in this process; more: on so many processes.
    cluster
        Address of a dask scheduler, which decides where they run.
    threads
        Of torch, for every task: numbers depend on how sums are split.
    """

    workers: int = 1
    cluster: str | None = None
    threads: int = 1


@dataclass
class Outcome:
    """What became of tasks.

    Attributes
    ----------
    finished
        Whether every task was begun; False after Ctrl-C.
    failed
        Why a task has no value, by its place.
    """

    finished: bool = True
    failed: dict[int, str] = field(default_factory=dict)


def run_each(
    function: Callable[..., Any],
    tasks: Sequence[Any],
    place: Place,
    on_value: OnValue = lambda _number, _value: None,
    on_event: OnEvent | None = None,
) -> Outcome:
    """Call `function` with every task, wherever `place` says.

    Parameters
    ----------
    function, tasks
        Importable and picklable where they leave this process.
    on_value
        Called in this process, in the order in which values come.
    on_event
        Where it is given, a task is called with a second argument, ``emit``. What it says there
        comes here, with who said it, in this process and in the order in which each said it; before
        the task's value. A task that is tried again says things again.

    Raises
    ------
    GradflowError
        If the cluster cannot be reached, or the program starts processes as it is imported.
        Defects of the function are raised as they are.
    """
    if place.workers > 1 and place.cluster is None:
        refuse_in_the_making()
    job = _Job(function, tasks, place, on_value, on_event)
    try:
        if place.cluster is not None:
            _on_cluster(job, place.cluster)
        elif place.workers == 1:
            _here(job)
        elif tasks:
            _on_processes(job)
    except KeyboardInterrupt:
        job.outcome.finished = False
    return job.outcome


@dataclass
class _Job:
    """Tasks, where they are to run, and what has become of them."""

    function: Callable[..., Any]
    tasks: Sequence[Any]
    place: Place
    on_value: OnValue
    on_event: OnEvent | None
    outcome: Outcome = field(default_factory=Outcome)
    begun: bool = False  # whether a process ever was fit for tasks

    def call(self, number: int, channel: Channel | None) -> tuple[Any, ...]:
        """Return a function and its arguments."""
        rest = () if channel is None else (channel.emit,)
        return self.function, self.tasks[number], *rest

    def take(self, future: Any, number: int) -> None:
        """Hand on what came of a task, or keep why nothing did."""
        error = future.exception()
        if error is None:
            self.on_value(number, future.result())
        elif isinstance(error, _FAILURES) or type(error).__name__ == "KilledWorker":
            self.outcome.failed[number] = _reason(error)
        else:
            raise error


def _here(job: _Job) -> None:
    on_event = job.on_event
    rest = () if on_event is None else (lambda event: on_event(0, event),)
    with torch_threads(job.place.threads):
        for number, task in enumerate(job.tasks):
            job.take(_called(job.function, task, *rest), number)


def _called(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Call a function; return a future that is done."""
    future = Future[Any]()
    try:
        future.set_result(function(*arguments))
    except _FAILURES as error:
        future.set_exception(error)
    return future


def _on_processes(job: _Job) -> None:
    """Run on a pool; where it breaks, those that were running are tried again, one by one.

    A pool does not say whose process died.
    """
    waiting = deque(range(len(job.tasks)))
    suspects: deque[int] = deque()
    with between_processes(job.on_event) as channel:
        while waiting or suspects:
            alone = bool(suspects)
            queue, count = (suspects, 1) if alone else (waiting, job.place.workers)
            broken = _until_it_breaks(job, queue, min(count, len(queue)), channel)
            if alone and broken:
                job.outcome.failed[broken[0]] = _DIED
            else:
                suspects.extend(broken)


def _until_it_breaks(
    job: _Job, queue: deque[int], count: int, channel: Channel | None
) -> list[int]:
    """Run what is queued on a pool; return what was running when it broke, if it did."""
    running: dict[Future[Any], int] = {}
    patience = None if channel is None else _PATIENCE
    with pool(count, job.place.threads) as workers:
        while queue or running:
            while queue and len(running) < count:
                number = queue.popleft()
                try:
                    running[submitted(workers, *job.call(number, channel))] = number
                except BrokenProcessPool:
                    return _lost(job, workers, [*running.values(), number])
            done, _ = wait(running, timeout=patience, return_when=FIRST_COMPLETED)
            if channel is not None:
                channel.drain()
            lost = [f for f in done if isinstance(f.exception(), BrokenProcessPool)]
            for future in done - set(lost):
                job.take(future, running.pop(future))
            if lost:
                return _lost(job, workers, list(running.values()))
    return []


def _lost(job: _Job, workers: Pool, numbers: list[int]) -> list[int]:
    """Return the tasks that a broken pool was running.

    Raises
    ------
    GradflowError
        If no process ever began: a program that starts them as it is imported is run by each anew.
    """
    job.begun = job.begun or workers.began()
    if not job.begun:
        raise unguarded()
    return numbers


def _on_cluster(job: _Job, address: str) -> None:
    """Run on a dask cluster, which tries a task again where its worker died."""
    with connected(address) as cluster, across_cluster(cluster.client, job.on_event) as channel:
        threads = job.place.threads
        running = {
            cluster.submit(_with_threads, threads, *job.call(number, channel), pure=False): number
            for number in range(len(job.tasks))
        }
        _take_arriving(job, cluster, running, channel)
        job.outcome.failed |= dict.fromkeys(running.values(), _GONE)


def _take_arriving(
    job: _Job, cluster: Cluster, running: dict[Any, int], channel: Channel | None
) -> None:
    """Take what is done out of `running`, until all is, or the scheduler is gone."""
    patience = 1.0 if channel is None else _PATIENCE
    while cluster.there() and (live := [f for f in running if not f.cancelled()]):
        done = cluster.done(live, patience)
        if channel is not None:
            channel.drain()
        for future in done:
            with contextlib.suppress(CancelledError):  # its scheduler went in this moment
                job.take(future, running[future])
                del running[future]


def _with_threads(threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    with torch_threads(threads):
        return function(*arguments)


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return _DIED
    if isinstance(error, MemoryError):
        return "too little memory"
    return str(error).strip().partition("\n")[0] or type(error).__name__
