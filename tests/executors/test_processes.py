"""Tasks that say what happens as it happens, here and on processes of their own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
import torch

from gradflow.executors import processes
from gradflow.executors.tasks import Outcome, Place, run_each

PLACES = [Place(threads=2), Place(workers=2, threads=2)]


def square(task: int, emit: Callable[[Any], None]) -> int:
    emit((task, "begins"))
    emit((task, torch.get_num_threads()))
    return task**2


def wait_for_the_parent(task: str, emit: Callable[[Any], None]) -> None:
    """End when the parent has heard of it, and says so with a file."""
    emit("begun")
    end = time.monotonic() + 60
    while not Path(task).exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def deadly(task: int, emit: Callable[[Any], None]) -> None:
    emit(task)
    if task == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def tunables(task: int) -> tuple[str | None, Any]:
    return os.environ.get("GLIBC_TUNABLES"), signal.getsignal(signal.SIGINT)


class Heard(list[Any]):
    """What came, in its order: events and values."""

    def event(self, worker: Hashable, event: Any) -> None:
        self.append(event)

    def value(self, number: int, value: Any) -> None:
        self.append(value)


@pytest.mark.parametrize("place", PLACES)
def test_what_a_task_says_comes_in_its_order_and_before_its_value(place: Place) -> None:
    threads, heard = torch.get_num_threads(), Heard()
    assert run_each(square, range(4), place, heard.value, heard.event) == Outcome()
    for task in range(4):
        places = [heard.index(said) for said in ((task, "begins"), (task, 2))]
        assert places == sorted(places)
        assert places[1] < max(i for i, said in enumerate(heard) if said == task**2)
    assert len(heard) == 12
    assert torch.get_num_threads() == threads


def test_events_come_while_a_task_runs(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    outcome = run_each(
        wait_for_the_parent,
        [str(heard)],
        Place(workers=2),
        on_event=lambda _worker, _event: heard.touch(),
    )
    assert outcome == Outcome()


def test_what_a_task_said_before_its_process_died_is_kept() -> None:
    heard = Heard()
    outcome = run_each(deadly, [0, 1, 2], Place(workers=2), on_event=heard.event)
    assert set(heard) == {0, 1, 2}
    assert outcome.failed.keys() == {1}


@pytest.mark.parametrize(
    ("before", "within"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=0", "glibc.malloc.check=0:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ],
)
def test_workers_get_huge_pages_unless_the_user_says_otherwise(
    before: str | None, within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if before is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    heard = Heard()
    run_each(tunables, [0], Place(workers=2), heard.value)
    assert heard == [(within, signal.SIG_IGN)]
    assert os.environ.get("GLIBC_TUNABLES") == before


@pytest.mark.parametrize("place", PLACES)
def test_no_tasks_are_finished_at_once(place: Place) -> None:
    assert run_each(square, [], place, on_event=lambda *_: None) == Outcome()


def test_keeping_freed_memory_is_harmless() -> None:
    processes.keep_freed_memory()
    assert torch.ones(10_000_000).sum().item() == 10_000_000
