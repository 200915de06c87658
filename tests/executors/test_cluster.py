"""A real dask scheduler with two worker processes on this machine, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_runs import numbers, small, write_stripes

import gradflow
from gradflow import BenchmarkConfig, SweepConfig
from gradflow.benchmarking.events import EpochDone, Event
from gradflow.errors import GradflowError
from gradflow.executors import tasks
from gradflow.executors.tasks import Place, run_each

pytest.importorskip("distributed")

CONFIG = SweepConfig(
    depths=(1, 2, 3, 4, 5, 6),
    weight_variances=(0.5, 1.5),
    widths=(16, 24),
    batch_size=8,
    seeds=2,
)


class Cluster:
    """A scheduler, and its workers in the order in which they were started."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        options = ["--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--no-show"]
        self.scheduler = self.start("scheduler", *options, "--scheduler-file", str(self.file))
        until(self.file.exists)
        self.workers = [
            self.start(
                "worker",
                *("--scheduler-file", str(self.file), "--no-nanny", "--no-dashboard"),
                *("--nthreads", "1", "--local-directory", str(folder)),
            )
            for _ in range(2)
        ]
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        quiet, ours = subprocess.DEVNULL, Path(__file__).parents[1]
        known = os.pathsep.join(map(str, (ours.parent, ours, *sys.path)))  # this file's tasks
        environment = {**os.environ, "PYTHONPATH": known}
        return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def until(there: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not there():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    started = Cluster(tmp_path)
    yield started
    started.stop()


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_no_row(cluster: Cluster) -> None:
    local = gradflow.sweep(CONFIG)
    seen: list[int] = []

    def progress(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == 3:  # some have come, others run or wait
            os.kill(cluster.workers[0].pid, signal.SIGKILL)

    far = gradflow.sweep(replace(CONFIG, cluster=cluster.address), progress=progress)
    assert len(seen) > 3
    assert far.records == local.records
    assert not far.findings


@pytest.mark.slow
def test_a_scheduler_that_is_gone_keeps_what_came(cluster: Cluster) -> None:
    seen: list[int] = []

    def progress(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            cluster.stop()

    result = gradflow.sweep(replace(CONFIG, cluster=cluster.address), progress=progress)
    assert 0 < len(result.records) < CONFIG.points
    assert {f.code for f in result.findings} == {"unjudged"}
    assert all("the cluster is gone" in f.message for f in result.findings)


@pytest.fixture
def training(tmp_path: Path) -> BenchmarkConfig:
    folder = tmp_path / "data"
    folder.mkdir()
    return small(write_stripes(folder), act=("relu", "tanh"), seeds=2, epochs=3)


@pytest.mark.slow
def test_a_benchmark_whose_worker_is_killed_has_the_rows_of_a_local_one(
    cluster: Cluster, training: BenchmarkConfig, tmp_path: Path
) -> None:
    local = gradflow.benchmark(training)
    done: list[EpochDone] = []

    def kill_at_the_third(event: Event) -> None:
        if isinstance(event, EpochDone):
            done.append(event)
            if len(done) == 3:
                os.kill(cluster.workers[0].pid, signal.SIGKILL)

    folder = str(tmp_path / "run")
    config = replace(training, cluster=cluster.address, output_dir=folder)
    far = gradflow.benchmark(config, kill_at_the_third)
    assert numbers(far) == numbers(local)
    assert not [f for f in far.findings if f.code in ("unjudged", "interrupted")]


@pytest.mark.slow
def test_a_benchmark_without_its_scheduler_is_resumed_elsewhere(
    cluster: Cluster, training: BenchmarkConfig, tmp_path: Path
) -> None:
    done: list[EpochDone] = []

    def stop_at_the_second(event: Event) -> None:
        if isinstance(event, EpochDone):
            done.append(event)
            if len(done) == 2:
                cluster.stop()

    folder = str(tmp_path / "run")
    config = replace(training, cluster=cluster.address, output_dir=folder)
    broken = gradflow.benchmark(config, stop_at_the_second)
    assert 2 <= len(broken.history) < 12
    gone = [f.message for f in broken.findings if f.code == "unjudged"]
    assert gone
    assert all("the cluster is gone" in message for message in gone)
    resumed = gradflow.benchmark(replace(config, cluster=None, resume=True))
    assert numbers(resumed) == numbers(gradflow.benchmark(training))


class Going:
    """A cluster and its only task; the scheduler goes as the task's value is read."""

    gone = False

    def there(self) -> bool:
        return not self.gone

    def done(self, futures: Any, _: float) -> list[Any]:
        return list(futures)

    def exception(self) -> None:
        return None

    def result(self) -> Any:
        self.gone = True
        raise CancelledError("scheduler-connection-lost")

    def cancelled(self) -> bool:
        return self.gone


def test_a_value_whose_scheduler_goes_as_it_is_read_is_left_as_running() -> None:
    going: Any = Going()
    running = {going: 0}
    job = tasks._Job(int, ["1"], Place(), lambda _number, _value: None, None)
    tasks._take_arriving(job, going, running, None)
    assert running == {going: 0}
    assert not job.outcome.failed


def test_ctrl_c_ends_what_runs_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    def interrupt(_worker: Any, _event: Any) -> None:
        raise KeyboardInterrupt

    place = Place(cluster=cluster.address)
    ended = tmp_path / "ended"
    outcome = run_each(says_until_it_is_stopped, [str(ended)], place, on_event=interrupt)
    assert not outcome.finished
    until(ended.exists)


def says_until_it_is_stopped(task: str, emit: Callable[[Any], None]) -> None:
    try:
        for number in range(6000):
            emit(number)
            time.sleep(0.01)
    except GradflowError:
        Path(task).touch()
