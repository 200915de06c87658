"""How a task says what happens as it happens, from wherever it runs."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pickle
import queue
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from gradflow.errors import GradflowError
from gradflow.executors.processes import interrupts_held_back

Emit = Callable[[Any], None]
#: Called with who emitted, and what.
OnEvent = Callable[[Hashable, Any], None]


class Channel(Protocol):
    """What leads from tasks to the process that wants to hear of them.

    Attributes
    ----------
    emit
        What a task calls with an event; goes with it wherever it runs.
    """

    emit: Emit

    def drain(self) -> None:
        """Hand on all that has come; of a task that is done, that is all that it said."""


@dataclass(frozen=True)
class _Put:
    """Puts events of this process into a queue."""

    queue: Any

    def __call__(self, event: Any) -> None:
        self.queue.put((os.getpid(), event))


@dataclass(frozen=True)
class _Log:
    """Logs events of a dask worker's thread under a topic."""

    topic: str

    def __call__(self, event: Any) -> None:
        worker: Any = importlib.import_module("distributed").get_worker()
        if _is_cancelled(worker):
            raise GradflowError("nobody waits for this task any longer")
        who = worker.address, threading.get_ident()
        worker.log_event(self.topic, pickle.dumps((who, event)))


def _is_cancelled(worker: Any) -> bool:
    """Return whether the task of this thread was given up, as after Ctrl-C: no one can end it."""
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"


class Drained:
    """A channel whose events lie in a queue."""

    def __init__(self, emit: Emit, inbox: Any, on_event: OnEvent) -> None:
        self.emit, self._inbox, self._on_event = emit, inbox, on_event

    def drain(self) -> None:
        """Hand on all that has come."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._on_event(*self._inbox.get_nowait())


@contextlib.contextmanager
def between_processes(on_event: OnEvent | None) -> Iterator[Channel | None]:
    """Give a channel for processes of this machine; None where nobody listens.

    The queue is a process of its own: a worker that is killed while it writes to a pipe which
    others share would leave it locked, or with half a message in it.
    """
    if on_event is None:
        yield None
        return
    manager: Any = multiprocessing.get_context("spawn").Manager
    with interrupts_held_back():
        started = manager()
    with started:
        inbox = started.Queue()
        yield Drained(_Put(inbox), inbox, on_event)


@contextlib.contextmanager
def across_cluster(client: Any, on_event: OnEvent | None) -> Iterator[Channel | None]:
    """Give a channel for the workers of a dask client; None where nobody listens.

    Events and finished tasks come from a worker in the order in which they were.
    """
    if on_event is None:
        yield None
        return
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    topic = f"gradflow-{client.id}"
    client.subscribe_topic(topic, lambda event: inbox.put(pickle.loads(event[1])))
    yield Drained(_Log(topic), inbox, on_event)
