"""Where tasks run: here, or on processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradflow.errors import GradflowError
from gradflow.executors import processes


def _square(task: int, emit: Callable[[Any], None]) -> None:
    emit((task, task**2, torch.get_num_threads()))


def _fail(task: int, emit: Callable[[Any], None]) -> None:
    emit("before")
    if task == 1:
        raise GradflowError("no good", "do better")
    raise ValueError("a defect")


def _die(task: int, emit: Callable[[Any], None]) -> None:
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_runs_once_with_its_threads(workers: int) -> None:
    threads = torch.get_num_threads()
    events: list[tuple[int, Any]] = []
    assert processes.run(
        _square, range(5), workers=workers, threads=2, on_event=lambda *e: events.append(e)
    )
    assert sorted(event for _, event in events) == [(n, n * n, 2) for n in range(5)]
    assert {worker for worker, _ in events} <= set(range(workers))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_raises_is_raised_here(workers: int) -> None:
    with pytest.raises(GradflowError, match="no good") as caught:
        processes.run(_fail, [1], workers=workers, threads=1, on_event=lambda *_: None)
    assert caught.value.hint == "do better"


def test_a_worker_s_defect_comes_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"in _fail[\s\S]*ValueError: a defect"):
        processes.run(_fail, [0], workers=2, threads=1, on_event=lambda *_: None)


def test_a_worker_s_death_is_said() -> None:
    with pytest.raises(GradflowError, match=r"ended unexpectedly \(exit code 3\)"):
        processes.run(_die, [0], workers=2, threads=1, on_event=lambda *_: None)


def _tunables(task: int, emit: Callable[[Any], None]) -> None:
    emit(os.environ.get("GLIBC_TUNABLES"))


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
    seen: list[tuple[int, Any]] = []
    processes.run(_tunables, [0], workers=2, threads=1, on_event=lambda *e: seen.append(e))
    assert seen == [(0, within)]
    assert os.environ.get("GLIBC_TUNABLES") == before


def test_no_tasks_are_finished_at_once() -> None:
    assert processes.run(_square, [], workers=2, threads=1, on_event=lambda *_: None)


def test_keeping_freed_memory_is_harmless() -> None:
    processes.keep_freed_memory()
    assert torch.ones(10_000_000).sum().item() == 10_000_000
