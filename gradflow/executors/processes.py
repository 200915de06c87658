"""Where independent tasks run: here, one after the other, or on processes of their own.

A task is a call ``function(task, emit)``; all that it has to say it says through ``emit``, so
whatever was emitted before an interruption is kept. Numbers depend on the number of threads
(sums are split differently), so that is fixed by the caller and the same wherever a task runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from gradflow.errors import GradflowError

Emit = Callable[[Any], None]
Function = Callable[[Any, Emit], None]
#: Called with the number of the worker and what its task emitted.
OnEvent = Callable[[int, Any], None]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_GRACE = 5.0  # seconds between asking a worker to stop and killing it


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    function: Function, tasks: Sequence[Any], *, workers: int, threads: int, on_event: OnEvent
) -> bool:
    """Run every task; return whether all were finished (False: stopped by Ctrl-C).

    Parameters
    ----------
    function, tasks
        Importable and picklable where there are several workers.
    workers
        1 runs the tasks in this process; more, on that many spawned processes.
    threads
        Of torch, for every task.
    on_event
        Called in this process, in the order in which each worker emitted.

    Raises
    ------
    GradflowError
        If a worker dies. What a task raises is raised here.
    """
    try:
        if workers == 1:
            _run_here(function, tasks, threads, on_event)
        else:
            _run_on_processes(function, tasks, min(workers, len(tasks)), threads, on_event)
    except KeyboardInterrupt:
        return False
    return True


def _run_here(function: Function, tasks: Iterable[Any], threads: int, on_event: OnEvent) -> None:
    with torch_threads(threads):
        for task in tasks:
            function(task, lambda event: on_event(0, event))


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Calculate on so many threads of torch within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_on_processes(
    function: Function, tasks: Iterable[Any], count: int, threads: int, on_event: OnEvent
) -> None:
    waiting = iter(tasks)
    workers: dict[Connection, tuple[int, BaseProcess]] = {}
    try:
        for number in range(count):
            connection, process = _start(function, threads)
            workers[connection] = number, process
        busy = [c for c in workers if _give_next(c, waiting)]
        while busy:
            for connection in _ready(busy):
                number, process = workers[connection]
                kind, value = _receive(connection, process)
                if kind == "event":
                    on_event(number, value)
                elif kind == "failed":
                    raise value
                elif not _give_next(connection, waiting):
                    busy.remove(connection)
    finally:
        _stop(workers)


def _start(function: Function, threads: int) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function, threads), daemon=True)
    with interrupts_held_back(), _huge_pages():
        process.start()
    theirs.close()  # so that the worker's death is the end of the connection
    return ours, process


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Children started within inherit a mask that keeps Ctrl-C from them, from their birth on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows; `_work` ignores it there, a little later
        yield
        return
    resource_tracker.ensure_running()  # it would lift the mask when the first child starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _huge_pages() -> Iterator[None]:
    """Children started within have heaps of 2 MiB pages, where glibc (2.35) and kernel can.

    A page of 4 KiB costs a fault each time that the heap grows, and an entry of the TLB.
    """
    before = os.environ.get("GLIBC_TUNABLES")
    if "glibc.malloc.hugetlb" in (before or ""):
        yield
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, [before, "glibc.malloc.hugetlb=1"]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["GLIBC_TUNABLES"]
        else:
            os.environ["GLIBC_TUNABLES"] = before


def _give_next(connection: Connection, waiting: Iterator[Any]) -> bool:
    for task in waiting:
        connection.send(task)
        return True
    return False


def _ready(connections: list[Connection]) -> list[Connection]:
    found = wait(connections)
    return [c for c in connections if c in found]


def _receive(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = connection.recv()
    except (EOFError, OSError):
        process.join(_GRACE)
        raise GradflowError(
            f"a worker process ended unexpectedly (exit code {process.exitcode})",
            "if memory is short, fewer --workers",
        ) from None
    return message


def _stop(workers: dict[Connection, tuple[int, BaseProcess]]) -> None:
    """End every worker, whatever it is doing, and leave no zombie."""
    for connection, (_, process) in workers.items():
        process.terminate()
        connection.close()
    for _, process in workers.values():
        process.join(_GRACE)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _work(connection: Connection, function: Function, threads: int) -> None:
    """Run tasks from `connection` until it closes; what a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    import torch

    torch.set_num_threads(threads)
    while True:
        with _leaving_with_the_parent():
            task = connection.recv()
        message = _attempt(function, task, connection)
        with _leaving_with_the_parent():
            connection.send(message)


@contextlib.contextmanager
def _leaving_with_the_parent() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        raise SystemExit from None


def _attempt(function: Function, task: Any, connection: Connection) -> tuple[str, Any]:
    def emit(event: Any) -> None:
        with _leaving_with_the_parent():
            connection.send(("event", event))

    try:
        function(task, emit)
    except GradflowError as error:
        return "failed", error
    except Exception:
        return "failed", RuntimeError(traceback.format_exc())  # as text: not all can be pickled
    return "done", None


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks below 32 MiB instead of giving them back to the system.

    Every step of training allocates the same large buffers. Given back, each of their pages costs
    a fault again: a tenth of a step. Elsewhere than on glibc this does nothing.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that it accepts
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
