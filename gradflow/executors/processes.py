"""Processes of this machine: how many there may be, their threads, and a pool of them."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import Any

from gradflow.errors import GradflowError
from gradflow.lazy import leave_memory

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


class Pool(ProcessPoolExecutor):
    """Spawned processes that calculate on so many threads of torch."""

    def __init__(self, count: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._begun = context.Event()
        super().__init__(count, context, initializer=_begin, initargs=(threads, self._begun))

    def began(self) -> bool:
        """Return whether one of the processes has got as far as being fit for tasks."""
        return self._begun.is_set()


@contextlib.contextmanager
def pool(count: int, threads: int) -> Iterator[Pool]:
    """Give a pool of processes, none of which outlives the block."""
    before = set(multiprocessing.active_children())
    made = Pool(count, threads)
    try:
        yield made
    except BaseException:  # they may be in the middle of a long task
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        made.shutdown(cancel_futures=True)


def refuse_in_the_making() -> None:
    """Refuse processes to one that is still importing the program that started it.

    It could start none, and would be ended with semaphores that nobody else gives back.

    Raises
    ------
    GradflowError
        If this process is such a one.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise unguarded()


def unguarded() -> GradflowError:
    """Return what is said of a program that starts processes as it is imported."""
    return GradflowError(
        'no worker process could begin: a program starts them under if __name__ == "__main__":',
        "each of them imports the program, which is not to start others then",
    )


def submitted(pool: Executor, *call: Any) -> Future[Any]:
    """Hand a call to a pool, which may start a process for it."""
    with interrupts_held_back(), _huge_pages():
        return pool.submit(*call)


def _begin(threads: int, begun: Any) -> None:
    """Make a process fit for tasks: Ctrl-C is its parent's affair, and it does not outlive it."""
    begun.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    keep_freed_memory()
    import torch

    torch.set_num_threads(threads)
    atexit.register(leave_memory)


def _leave_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Children started within inherit a mask that keeps Ctrl-C from them, from their birth on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows; `_begin` ignores it there, a little later
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


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks below 32 MiB instead of giving them back to the system.

    Every step of training allocates the same large buffers. Given back, each of their pages costs
    a fault again: a tenth of a step. Elsewhere than on glibc this does nothing.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that it accepts
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
