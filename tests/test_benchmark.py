"""Benchmarks from config to result; executors; run folders."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradflow import executors
from gradflow.benchmark import BenchmarkConfig, Event, Progress, activations, run
from gradflow.errors import GradflowError
from gradflow.results.base import Result
from gradflow.results.benchmark import (
    BenchmarkResult,
    BenchmarkRow,
    HistoryRow,
    findings,
    summarize,
)
from gradflow.rundir import Recorder, RunDirectory, finished


def idx(array: Any) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three kinds of 8×8 images: noise, brighter in one of three stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    random = np.random.default_rng(0)
    for part, count in (("train", 96), ("t10k", 30)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = random.integers(0, 128, (count, 8, 8), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 3] += 100
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return str(folder)


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread per run: test workers side by side would wait for each other's."""
    monkeypatch.setattr(executors, "cores", lambda: 1)


@pytest.fixture
def config(data: str) -> Callable[..., BenchmarkConfig]:
    def make(**options: Any) -> BenchmarkConfig:
        fast = {"act": ("relu", "selu"), "epochs": 2, "batch_size": 32, "device": "cpu"}
        return BenchmarkConfig(**{**fast, "data": data, "workers": 1, **options})

    return make


def numbers(result: BenchmarkResult) -> list[tuple[Any, ...]]:
    """Everything in the history but the time."""
    return [dataclasses.astuple(row)[:-1] for row in result.history]


def history_row(
    activation: str = "relu", seed: int = 0, epoch: int = 1, **given: Any
) -> HistoryRow:
    values = {"train_loss": 0.5, "train_accuracy": 0.8, "test_loss": 0.4, "test_accuracy": 0.9}
    values |= {"gradient_norm": 1.0, "seconds": 2.0}
    return HistoryRow(activation=activation, seed=seed, epoch=epoch, **{**values, **given})


# The result


def test_a_run_has_the_contract_s_rows_and_fields(config: Callable[..., BenchmarkConfig]) -> None:
    document = run(config(seeds=2)).to_dict()
    assert [row["activation"] for row in document["rows"]] == ["relu", "selu"]
    assert document["rows"][0].keys() >= {
        "activation", "seeds", "test_accuracy", "test_accuracy_std", "test_loss", "best_epoch",
        "seconds", "images_per_second",
    }  # fmt: skip
    assert document["history"][0].keys() >= {
        "activation", "seed", "epoch", "train_loss", "train_accuracy", "test_loss",
        "test_accuracy", "gradient_norm", "seconds",
    }  # fmt: skip
    assert [(h["activation"], h["seed"], h["epoch"]) for h in document["history"]] == [
        (name, seed, epoch) for name in ("relu", "selu") for seed in (0, 1) for epoch in (1, 2)
    ]
    assert document["aggregate_images_per_second"] > 0
    assert (document["train_size"], document["test_size"]) == (96, 30)
    assert Result.from_dict(json.loads(json.dumps(document))).to_dict() == document


def test_throughput_is_images_by_training_seconds(config: Callable[..., BenchmarkConfig]) -> None:
    result = run(config())
    seconds = dict.fromkeys(("relu", "selu"), 0.0)
    for row in result.history:
        seconds[row.activation] += row.seconds
    for row in result.records:
        assert row.images_per_second == pytest.approx(2 * 96 / seconds[row.activation])
    # one worker trained both, one after the other
    assert result.aggregate_images_per_second == pytest.approx(4 * 96 / sum(seconds.values()))


def test_training_longer_learns_the_stripes(config: Callable[..., BenchmarkConfig]) -> None:
    result = run(config(act=("elu",), epochs=12, batch_size=16))
    assert result.history[0].train_loss > 0.5
    assert result.records[0].test_accuracy > 0.9


def test_numbers_are_the_same_whatever_workers_is(config: Callable[..., BenchmarkConfig]) -> None:
    alone, together = run(config(epochs=1)), run(config(epochs=1, workers=2))
    assert numbers(alone) == numbers(together)
    assert len(numbers(alone)) == 2
    assert alone.meta.threads == together.meta.threads


@pytest.mark.parametrize(
    ("cores", "seeds", "threads"), [(2, 1, 2), (2, 2, 1), (8, 3, 2), (1, 5, 1)]
)
def test_threads_follow_from_tasks_and_cores_and_not_from_workers(
    config: Callable[..., BenchmarkConfig],
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    seeds: int,
    threads: int,
) -> None:
    asked: dict[str, int] = {}

    def note(*_: Any, workers: int, threads: int, **__: Any) -> bool:
        asked.update(workers=workers, threads=threads)
        return True

    monkeypatch.setattr(executors, "cores", lambda: cores)
    monkeypatch.setattr(executors, "run", note)
    run(config(act=("relu",), seeds=seeds, workers=None))
    assert asked == {"threads": threads, "workers": min(seeds, cores // threads)}
    run(config(act=("relu",), seeds=seeds, workers=3))
    assert asked == {"threads": threads, "workers": 3}


def test_a_run_does_not_depend_on_what_else_runs(config: Callable[..., BenchmarkConfig]) -> None:
    together = run(config(act=("relu", "selu", "tanh"), epochs=1))
    alone = run(config(act=("selu", "relu", "elu"), epochs=1))
    assert numbers(together)[1] == numbers(alone)[0]


def test_seeds_differ_and_repeat(config: Callable[..., BenchmarkConfig]) -> None:
    both = run(config(act=("relu",), seeds=2, epochs=1))
    second = run(config(act=("relu", "selu"), seed=1, epochs=1))
    assert numbers(both)[0][3:] != numbers(both)[1][3:]
    assert numbers(both)[1] == numbers(second)[0]


def test_train_size_and_alpha_are_used(config: Callable[..., BenchmarkConfig]) -> None:
    plain = run(config(act=("elu", "relu"), epochs=1))
    other = run(config(act=("elu", "relu"), epochs=1, alpha=1.0))
    assert numbers(plain)[0] != numbers(other)[0]
    assert numbers(plain)[1] == numbers(other)[1]  # ReLU has no α
    assert run(config(epochs=1, train_size=32)).train_size == 32


@pytest.mark.parametrize(
    "options", [{"clip_value": 1e-6}, {"clip_norm": 1e-6}, {"lr": 1e-9}, {"optimizer": "sgd"}]
)
def test_options_change_training(
    config: Callable[..., BenchmarkConfig], options: dict[str, Any]
) -> None:
    base = {"act": ("relu",), "optimizer": "sgd", "lr": 0.5, "epochs": 2}
    if options == {"optimizer": "sgd"}:
        base["optimizer"] = "adam"
    reference, changed = (run(config(**{**base, **o})).history for o in ({}, options))
    assert reference[-1].train_loss != changed[-1].train_loss
    if "optimizer" not in options:  # nothing moves: each epoch is like the first
        assert changed[0].test_loss == pytest.approx(changed[1].test_loss, abs=1e-3)


# Progress and interruption


def test_progress_counts_the_steps_of_every_epoch(config: Callable[..., BenchmarkConfig]) -> None:
    events: list[Event] = []
    run(config(act=("relu",), batch_size=8), events.append)
    steps = [e for e in events if isinstance(e, Progress)]
    assert [(e.epoch, e.step, e.steps) for e in steps] == [(1, 10, 12), (1, 12, 12), (2, 10, 12),
                                                           (2, 12, 12)]  # fmt: skip
    assert steps[0].label == "relu, seed 0"
    rows = [e for e in events if isinstance(e, HistoryRow)]
    assert [row.epoch for row in rows] == [1, 2]
    assert steps[1].loss == pytest.approx(rows[0].train_loss)
    assert steps[1].accuracy == pytest.approx(rows[0].train_accuracy)


def test_ctrl_c_keeps_the_finished_epochs(config: Callable[..., BenchmarkConfig]) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and (event.activation, event.epoch) == ("selu", 2):
            raise KeyboardInterrupt

    result = run(config(), interrupt)
    assert [(r.activation, r.epoch) for r in result.history] == [
        ("relu", 1), ("relu", 2), ("selu", 1)
    ]  # fmt: skip
    assert [row.activation for row in result.records] == ["relu", "selu"]
    assert result.findings[0].code == "interrupted"
    assert "3 of 4 epochs" in result.findings[0].message


def test_ctrl_c_before_the_first_epoch_gives_an_empty_result(
    config: Callable[..., BenchmarkConfig],
) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    result = run(config(), interrupt)
    assert result.records == result.history == ()
    assert result.aggregate_images_per_second is None
    assert result.title == "No epoch was finished"


INTERRUPTED = """
    import signal, sys
    from gradflow.benchmark import BenchmarkConfig, run
    def say(event):
        print("event", flush=True)
    if __name__ == "__main__":
        # A background job of a shell, as CI may be, inherits Ctrl-C as ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        config = BenchmarkConfig(act=("relu", "selu"), epochs=10000, data=sys.argv[1],
                                 device="cpu", workers=2)
        print("started", flush=True)
        print("result", run(config, say).findings[0].code, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process group are POSIX")
@pytest.mark.parametrize("wait_for", ["started", "event"])
def test_ctrl_c_stops_the_workers_quietly(data: str, tmp_path: Path, wait_for: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, str(script), data], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert process.stdout is not None
    while process.stdout.readline().strip() != wait_for:
        assert process.poll() is None
    if wait_for == "started":
        time.sleep(1.5)  # in the middle of starting the workers, or near it
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    output, errors = process.communicate(timeout=60)
    if wait_for == "event":  # earlier, it may come before `run` listens
        assert output.endswith("result interrupted\n")
        assert errors == ""
    assert errors.count("Traceback") <= 1  # the parent's own at most
    for _ in range(100):
        if not group_alive(process.pid):
            return
        time.sleep(0.1)
    pytest.fail("workers outlived their parent")


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# Executors


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
    assert executors.run(
        _square, range(5), workers=workers, threads=2, on_event=lambda *e: events.append(e)
    )
    assert sorted(event for _, event in events) == [(n, n * n, 2) for n in range(5)]
    assert {worker for worker, _ in events} <= set(range(workers))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_raises_is_raised_here(workers: int) -> None:
    with pytest.raises(GradflowError, match="no good") as caught:
        executors.run(_fail, [1], workers=workers, threads=1, on_event=lambda *_: None)
    assert caught.value.hint == "do better"


def test_a_worker_s_defect_comes_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"in _fail[\s\S]*ValueError: a defect"):
        executors.run(_fail, [0], workers=2, threads=1, on_event=lambda *_: None)


def test_a_worker_s_death_is_said() -> None:
    with pytest.raises(GradflowError, match=r"ended unexpectedly \(exit code 3\)"):
        executors.run(_die, [0], workers=2, threads=1, on_event=lambda *_: None)


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
    executors.run(_tunables, [0], workers=2, threads=1, on_event=lambda *e: seen.append(e))
    assert seen == [(0, within)]
    assert os.environ.get("GLIBC_TUNABLES") == before


def test_no_tasks_are_finished_at_once() -> None:
    assert executors.run(_square, [], workers=2, threads=1, on_event=lambda *_: None)


def test_keeping_freed_memory_is_harmless() -> None:
    executors.keep_freed_memory()
    assert torch.ones(10_000_000).sum().item() == 10_000_000


# Config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "--batch-size"),
        ({"lr": -1.0}, "--lr must be a number above 0"),
        ({"lr": math.nan}, "--lr must be a number above 0"),
        ({"clip_value": -0.5}, "--clip-value"),
        ({"clip_norm": 0.0}, "--clip-norm"),
        ({"clip_norm": 1.0, "clip_value": 0.1}, "--clip-value and --clip-norm exclude each other"),
        ({"seeds": 0}, "--seeds"),
        ({"seed": -1}, "--seed"),
        ({"train_size": 0}, "--train-size"),
        ({"workers": 0}, "--workers"),
        ({"act": ()}, "no activation"),
        ({"resume": True}, "--resume needs --output-dir"),
    ],
)
def test_a_value_out_of_range_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GradflowError, match=message):
        BenchmarkConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"act": ("reul",)}, "unknown activation 'reul'"),
        ({"alpha": 0.1}, "relu has no alpha"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'"),
        ({"precision": "fp8"}, "unknown precision"),
        ({"precision": "tf32"}, "tf32 needs a CUDA device"),
        ({"device": "gpu"}, "unknown device"),
        ({"data": "/nowhere"}, "there is no folder"),
        ({"train_size": 97}, "--train-size 97 is more than the 96 images"),
    ],
)
def test_what_cannot_be_run_is_refused_before_training(
    config: Callable[..., BenchmarkConfig], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GradflowError, match=message):
        run(config(**options))


def test_a_name_and_its_alias_are_one_activation() -> None:
    config = BenchmarkConfig(act=("leaky_relu", "leaky-relu", "ReLU"), alpha=0.1)
    assert list(activations(config)) == ["leaky-relu", "relu"]
    assert activations(config)["leaky-relu"].parameters == {"alpha": 0.1}


def test_the_defaults_are_the_article_s() -> None:
    config = BenchmarkConfig()
    assert config.act == ("sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu")
    assert (config.clip_value, config.clip_norm, config.batch_size) == (0.5, None, 128)
    assert (config.optimizer, config.lr) == ("adam", 1e-3)


def test_importing_the_benchmark_does_not_import_torch() -> None:
    code = "import sys, gradflow.benchmark; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Summary


def test_a_row_is_the_mean_over_seeds_of_the_last_epoch() -> None:
    history = [
        history_row(seed=0, epoch=1, test_accuracy=0.5, test_loss=0.2),
        history_row(seed=0, epoch=2, test_accuracy=0.90, test_loss=0.3),
        history_row(seed=1, epoch=1, test_accuracy=0.5, test_loss=0.2),
        history_row(seed=1, epoch=2, test_accuracy=0.94, test_loss=0.4),
        history_row("elu", seed=0, epoch=1),
    ]
    relu, elu = summarize(history, ["relu", "elu", "selu"], train_size=100)
    assert (relu.seeds, relu.best_epoch) == (2, 1)
    assert relu.test_accuracy == pytest.approx(0.92)
    assert relu.test_accuracy_std == pytest.approx(math.sqrt(0.02**2 + 0.02**2))
    assert relu.test_loss == pytest.approx(0.35)
    assert (relu.seconds, relu.images_per_second) == (8.0, 50.0)
    assert (elu.activation, elu.test_accuracy_std) == ("elu", None)


def test_a_seed_that_got_less_far_is_left_out_of_the_row() -> None:
    history = [
        history_row(seed=0, epoch=1, test_accuracy=0.1),
        history_row(seed=0, epoch=2, test_accuracy=0.8),
        history_row(seed=1, epoch=1, test_accuracy=0.2),
    ]
    (row,) = summarize(history, ["relu"], 10)
    assert (row.seeds, row.test_accuracy) == (1, 0.8)


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    history = [
        history_row(epoch=1, test_loss=math.nan),
        history_row(epoch=2, test_loss=3.0),
        history_row(epoch=3, test_loss=math.inf),
    ]
    (row,) = summarize(history, ["relu"], 10)
    assert row.best_epoch == 2
    assert row.test_loss == math.inf


def result_of(accuracies: dict[str, float], test_size: int = 10_000) -> BenchmarkResult:
    history = tuple(history_row(name, test_accuracy=p) for name, p in accuracies.items())
    records = summarize(history, accuracies, 100)
    return BenchmarkResult(records=records, history=history, test_size=test_size)


@pytest.mark.parametrize(
    ("accuracies", "title"),
    [
        ({"relu": 0.99}, "relu best: 99.0 % test accuracy after 1 epoch"),
        (
            {"sigmoid": 0.91, "relu": 0.99},
            "relu best: 99.0 % test accuracy after 1 epoch; sigmoid last, 91.0 %",
        ),
        (
            {"sigmoid": 0.91, "elu": 0.989, "relu": 0.99},
            "relu best: 99.0 % test accuracy after 1 epoch, elu within noise; sigmoid last, 91.0 %",
        ),
        (
            {"elu": 0.989, "relu": 0.99},
            "relu best: 99.0 % test accuracy after 1 epoch, elu within noise",
        ),
    ],
)
def test_the_title_says_who_is_best(accuracies: dict[str, float], title: str) -> None:
    assert result_of(accuracies).title == title


@given(st.floats(0.01, 0.99), st.integers(100, 100_000))
def test_one_run_s_standard_error_is_the_binomial_one(p: float, n: int) -> None:
    row = dataclasses.replace(result_of({"relu": p}).records[0])
    assert row.standard_error(n) == pytest.approx(math.sqrt(p * (1 - p) / n))


def test_a_spread_over_seeds_widens_the_noise_and_more_seeds_narrow_it() -> None:
    row = BenchmarkRow("relu", 4, 0.99, 0.02, 0.1, 1, 1.0, 1.0)
    assert row.standard_error(10_000) == pytest.approx(0.01)
    near = dataclasses.replace(row, test_accuracy=0.97)
    result = result_of({"relu": 0.99})
    assert result.within_noise(row, near)
    assert not result.within_noise(row, dataclasses.replace(row, test_accuracy=0.95))


def test_an_activation_far_behind_is_a_finding() -> None:
    result = result_of({"relu": 0.99, "elu": 0.975, "sigmoid": 0.91})
    (found,) = findings(result.records, result.history, None)
    assert (found.code, found.severity) == ("below-expected", "warning")
    assert found.message == "sigmoid reaches 91.0 %, 8.0 points below relu"


def test_a_loss_that_is_not_finite_is_a_finding() -> None:
    history = [history_row(train_loss=math.nan), history_row(epoch=2, train_loss=math.nan)]
    (found,) = findings(summarize(history, ["relu"], 10), history, None)
    assert (found.code, found.severity) == ("diverged", "error")


def test_a_learning_rate_that_is_far_too_large_diverges_without_an_exception(
    config: Callable[..., BenchmarkConfig],
) -> None:
    result = run(config(act=("relu",), optimizer="sgd", lr=1e30, clip_value=0.0))
    assert [found.code for found in result.findings] == ["diverged"]


# Run folders


def test_a_run_writes_its_config_and_every_epoch(
    config: Callable[..., BenchmarkConfig], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "run"
    seen: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, HistoryRow):
            seen.append(len((folder / "history.jsonl").read_text().splitlines()))

    result = run(config(output_dir=str(folder)), count)
    assert seen == [1, 2, 3, 4]  # each epoch was there when it was reported
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert [HistoryRow(**json.loads(line)) for line in lines] == list(result.history)
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2


def test_a_resumed_run_ends_like_an_uninterrupted_one(
    config: Callable[..., BenchmarkConfig], tmp_path: Path
) -> None:
    options = {"output_dir": str(tmp_path / "run"), "seeds": 2}

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and (event.seed, event.epoch) == (1, 2):
            raise KeyboardInterrupt

    whole = run(config(seeds=2))
    run(config(**options), interrupt)
    file = tmp_path / "run" / "history.jsonl"
    file.write_text(file.read_text() + '{"activation": "re')  # cut off in the middle of a write
    trained: list[Event] = []
    resumed = run(config(**options, resume=True), trained.append)
    assert numbers(resumed) == numbers(whole)
    assert {e.seed for e in trained} == {1}
    assert len(file.read_text().splitlines()) == 8
    again = run(config(**options, resume=True), trained.append)
    assert again.history == resumed.history
    assert again.aggregate_images_per_second is None


def test_a_folder_with_a_run_is_not_written_over(
    config: Callable[..., BenchmarkConfig], tmp_path: Path
) -> None:
    options = {"output_dir": str(tmp_path), "act": ("relu",), "epochs": 1}
    run(config(**options))
    before = (tmp_path / "history.jsonl").read_bytes()
    with pytest.raises(GradflowError, match="holds a run already"):
        run(config(**options))
    with pytest.raises(GradflowError, match=r"holds a run with lr = 0.001, not 0.01"):
        run(config(**options, resume=True, lr=0.01))
    assert (tmp_path / "history.jsonl").read_bytes() == before
    assert run(config(**options, resume=True, workers=2)).history  # workers change no number


def test_records_that_are_not_finite_survive_the_file(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path, {}, resume=False)
    folder.append(history_row(train_loss=math.inf, test_loss=-math.inf))
    (row,) = folder.read()
    assert (row.train_loss, row.test_loss) == (math.inf, -math.inf)
    folder.append(history_row(train_loss=math.nan))
    assert math.isnan(folder.read()[1].train_loss)
    assert "Infinity" in folder.history_file.read_text()
    with pytest.raises(ValueError, match="constant"):
        json.loads("NaN", parse_constant=_refuse)
    for line in folder.history_file.read_text().splitlines():
        json.loads(line, parse_constant=_refuse)  # strict JSON: no bare NaN


def _refuse(name: str) -> None:
    raise ValueError(f"constant {name}")


@pytest.mark.parametrize("line", ["{}\n", "nonsense\n", "[1]\n", '{"activation": "relu"}\n'])
def test_a_damaged_history_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    folder = RunDirectory(tmp_path, {}, resume=False)
    folder.append(history_row())
    with folder.history_file.open("a") as file:
        file.write(line)
    with pytest.raises(GradflowError, match=r"history\.jsonl, line 2 is not an epoch"):
        folder.read()


@pytest.mark.parametrize("content", ["nonsense", "[]"])
def test_a_damaged_config_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(GradflowError, match=r"config\.json is damaged"):
        RunDirectory(tmp_path, {}, resume=True)


def test_a_file_in_the_folder_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(GradflowError, match="cannot use folder"):
        RunDirectory(tmp_path / "run", {}, resume=False)


def test_a_run_is_finished_with_its_last_epoch() -> None:
    rows = [history_row(epoch=1), history_row(epoch=2), history_row(seed=1)]
    assert finished(rows, 2) == {("relu", 0)}


def test_the_aggregate_is_by_the_busiest_worker() -> None:
    recorder = Recorder(None, 2, None)
    for worker, seconds in [(0, 3.0), (1, 4.0), (0, 5.0)]:
        recorder(worker, history_row(seconds=seconds))
    assert recorder.aggregate(100) == pytest.approx(300 / 8)
