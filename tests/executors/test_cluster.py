"""A real dask scheduler with two worker processes on this machine, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import gradflow
from gradflow import SweepConfig

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
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=quiet, stderr=quiet)

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
