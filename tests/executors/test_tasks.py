"""Tasks that fail, whose process dies, that are interrupted: the others are kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradflow.errors import GradflowError
from gradflow.executors.tasks import Outcome, Place, run_each

PLACES = [Place(), Place(workers=2)]


def threads(_task: int) -> int:
    import torch

    return torch.get_num_threads()


def square(task: int) -> int:
    if task < 0:
        raise GradflowError(f"{task} is below 0", "nothing")
    return task * task


def defective(task: int) -> int:
    raise AttributeError(f"a mistake with {task}")


def deadly(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task)


def run(function: Any, tasks: list[int], place: Place) -> tuple[Outcome, dict[int, Any]]:
    values: dict[int, Any] = {}
    outcome = run_each(function, tasks, place, values.__setitem__)
    return outcome, values


@pytest.mark.parametrize("place", PLACES)
def test_every_task_has_its_value_and_a_failure_its_reason(place: Place) -> None:
    outcome, values = run(square, [1, -2, 3, 4], place)
    assert values == {0: 1, 2: 9, 3: 16}
    assert outcome == Outcome(finished=True, failed={1: "-2 is below 0"})


@pytest.mark.parametrize("place", PLACES)
def test_a_defect_is_raised(place: Place) -> None:
    with pytest.raises(AttributeError, match="a mistake with 1"):
        run(defective, [1], place)


@pytest.mark.parametrize("place", PLACES)
def test_every_task_has_the_threads_that_were_asked_for(place: Place) -> None:
    asked = Place(place.workers, threads=3)
    assert set(run(threads, [1, 2], asked)[1].values()) == {3}


def test_a_process_that_dies_takes_one_task_with_it() -> None:
    outcome, values = run(deadly, [1, 2, 3, 4, 5], Place(workers=2))
    assert values == {0: 1, 1: 4, 3: 16, 4: 25}
    assert outcome.finished
    assert outcome.failed.keys() == {2}
    assert "its process ended" in outcome.failed[2]


@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_keeps_what_came_and_leaves_no_process(place: Place) -> None:
    values: list[int] = []

    def interrupted(_number: int, value: int) -> None:
        values.append(value)
        raise KeyboardInterrupt

    before = multiprocessing.active_children()
    outcome = run_each(square, [1, 2, 3, 4], place, interrupted)
    assert not outcome.finished
    assert len(values) == 1
    assert multiprocessing.active_children() == before


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(GradflowError, match="no dask scheduler answers at 'nosuch://x'"):
        run(square, [1], Place(cluster="nosuch://x"))


def test_a_program_that_each_process_would_run_anew_is_told_so(tmp_path: Path) -> None:
    program = tmp_path / "unguarded.py"
    program.write_text(
        "from gradflow.executors.tasks import Place, run_each\n"
        "run_each(abs, [1, -2, 3, -4], Place(workers=2))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert 'under if __name__ == "__main__":' in done.stderr.splitlines()[-1]
    assert done.stderr.count("GradflowError") <= 3  # once for each process
    assert "bootstrapping phase" not in done.stderr  # before they made semaphores
