"""Tasks that are pure functions of what describes them, on an Executor of `concurrent.futures`.

In this process, on processes of this machine, or on a dask cluster. One that fails, or whose
process dies, takes none of the others with it: it is named, and they go on.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from gradflow.errors import GradflowError
from gradflow.executors.processes import interrupts_held_back, torch_threads

#: Called with a task's place and what came of it.
OnValue = Callable[[int, Any], None]
#: What says that a task could not be done, and nothing of the program. Torch's own lack of memory
#: is a RuntimeError.
_FAILURES = (GradflowError, MemoryError, RuntimeError, OSError)
_DIED = "its process ended; there may be too little memory"
_GONE = "the cluster is gone"


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
    function: Callable[[Any], Any], tasks: Sequence[Any], place: Place, on_value: OnValue
) -> Outcome:
    """Call `function` with every task, wherever `place` says.

    Parameters
    ----------
    function, tasks
        Importable and picklable where they leave this process.
    on_value
        Called in this process, in the order in which values come.

    Raises
    ------
    GradflowError
        If the cluster cannot be reached. Defects of the function are raised as they are.
    """
    job = _Job(function, tasks, place, on_value)
    try:
        if place.cluster is not None:
            _on_cluster(job, place.cluster)
        elif place.workers == 1:
            _here(job)
        else:
            _on_processes(job)
    except KeyboardInterrupt:
        job.outcome.finished = False
    return job.outcome


@dataclass
class _Job:
    """Tasks, where they are to run, and what has become of them."""

    function: Callable[[Any], Any]
    tasks: Sequence[Any]
    place: Place
    on_value: OnValue
    outcome: Outcome = field(default_factory=Outcome)

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
    with torch_threads(job.place.threads):
        for number, task in enumerate(job.tasks):
            job.take(_called(job.function, task), number)


def _called(function: Callable[[Any], Any], task: Any) -> Future[Any]:
    """Call a function; return a future that is done."""
    future = Future[Any]()
    try:
        future.set_result(function(task))
    except _FAILURES as error:
        future.set_exception(error)
    return future


def _on_processes(job: _Job) -> None:
    """Run on a pool; where it breaks, those that were running are tried again, one by one.

    A pool does not say whose process died.
    """
    waiting = deque(range(len(job.tasks)))
    suspects: deque[int] = deque()
    while waiting or suspects:
        alone = bool(suspects)
        queue, count = (suspects, 1) if alone else (waiting, job.place.workers)
        broken = _until_it_breaks(job, queue, count)
        if alone and broken:
            job.outcome.failed[broken[0]] = _DIED
        else:
            suspects.extend(broken)


def _until_it_breaks(job: _Job, queue: deque[int], count: int) -> list[int]:
    """Run what is queued on a pool; return what was running when it broke, if it did."""
    running: dict[Future[Any], int] = {}
    with _pool(count, job.place.threads) as pool:
        while queue or running:
            while queue and len(running) < count:
                number = queue.popleft()
                try:
                    with interrupts_held_back():
                        running[pool.submit(job.function, job.tasks[number])] = number
                except BrokenProcessPool:
                    return [*running.values(), number]
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            lost = [f for f in done if isinstance(f.exception(), BrokenProcessPool)]
            for future in done - set(lost):
                job.take(future, running.pop(future))
            if lost:
                return list(running.values())
    return []


@contextlib.contextmanager
def _pool(count: int, threads: int) -> Iterator[Executor]:
    """Give a pool of spawned processes, none of which outlives the block."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(threads,))
    try:
        yield pool
    except BaseException:  # they may be in the middle of a long task
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """Make a process fit for tasks: Ctrl-C is its parent's affair, and it does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _leave_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _on_cluster(job: _Job, address: str) -> None:
    """Run on a dask cluster, which tries a task again where its worker died."""
    with _client(address) as client:
        running = {
            client.submit(_with_threads, job.function, task, job.place.threads, pure=False): number
            for number, task in enumerate(job.tasks)
        }
        for future in client.arriving(running):
            job.take(future, running.pop(future))
        job.outcome.failed |= dict.fromkeys(running.values(), _GONE)


def _with_threads(function: Callable[[Any], Any], task: Any, threads: int) -> Any:
    with torch_threads(threads):
        return function(task)


@contextlib.contextmanager
def _client(address: str) -> Iterator[_Cluster]:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise GradflowError(
            "--cluster needs dask.distributed", "pip install 'gradflow-diagnostics[cluster]'"
        ) from None
    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise GradflowError(
            f"no dask scheduler answers at '{address}': {_reason(error)}",
            "dask scheduler prints its address: --cluster tcp://HOST:PORT",
        ) from None
    try:
        yield _Cluster(distributed, client)
    finally:
        client.close(timeout=2)


class _Cluster:
    """A dask client, as far as it is needed."""

    def __init__(self, distributed: Any, client: Any) -> None:
        self._distributed, self._client = distributed, client
        self.submit = client.submit

    def arriving(self, futures: dict[Any, int]) -> Iterator[Any]:
        """Yield futures as they are done, until all are, or the scheduler is gone."""
        left = set(futures)
        gone = self._distributed.CancelledError, self._distributed.TimeoutError
        while left and self._client.status == "running":
            with self._client.as_current(), contextlib.suppress(*gone):
                self._distributed.wait(list(left), timeout=1, return_when="FIRST_COMPLETED")
            done = {f for f in left if f.done() and not f.cancelled()}
            left -= done | {f for f in left if f.cancelled()}
            yield from done


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return _DIED
    if isinstance(error, MemoryError):
        return "too little memory"
    return str(error).strip().partition("\n")[0] or type(error).__name__
