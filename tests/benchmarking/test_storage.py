"""Run folders: what is kept, resumed, read back and refused."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.benchmark_runs import epoch_done, flow_row, history_row, numbers, small

from gradflow.benchmarking.events import EpochDone, Event, Progress
from gradflow.benchmarking.run import benchmark as run
from gradflow.benchmarking.storage.checkpoints import Checkpoint, Origin, load
from gradflow.benchmarking.storage.folder import RunDirectory
from gradflow.benchmarking.storage.journal import Journal, finished
from gradflow.benchmarking.stored import read_benchmark as read
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.fields import option
from gradflow.datasets import images
from gradflow.errors import GradflowError
from gradflow.executors import processes
from gradflow.results.base import column
from gradflow.results.benchmark import HistoryRow, Setting

pytestmark = pytest.mark.usefixtures("one_core")

Make = Callable[..., BenchmarkConfig]
RELU = Setting(activation="relu")


@pytest.fixture
def config(stripes: str, tmp_path: Path) -> Make:
    def make(**options: Any) -> BenchmarkConfig:
        return small(stripes, **{"output_dir": str(tmp_path / "run"), **options})

    return make


def interrupt_at(activation: str, seed: int, epoch: int) -> Callable[[Event], None]:
    """Return what presses Ctrl-C in the middle of an epoch."""

    def take(event: Event) -> None:
        if isinstance(event, Progress):
            place = (event.setting.activation, event.seed, event.epoch)
            if place == (activation, seed, epoch):
                raise KeyboardInterrupt

    return take


def trained(config: BenchmarkConfig) -> tuple[Any, list[tuple[str, int, int]]]:
    """Return the result, and which epochs were trained for it."""
    seen: list[tuple[str, int, int]] = []

    def take(event: Event) -> None:
        if isinstance(event, EpochDone) and not event.restored:
            row = event.history
            seen.append((row.activation, row.seed, row.epoch))

    return run(config, take), seen


def test_a_run_writes_its_config_environment_and_every_epoch(config: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    seen: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, EpochDone):
            seen.append(len((folder / "history.jsonl").read_text().splitlines()))

    result = run(config(), count)
    assert seen == [1, 2, 3, 4]  # each epoch was there when it was reported
    lines = (folder / "history.jsonl").read_text().splitlines()
    whose = json.loads((folder / "run.json").read_text())["run"]
    assert [json.loads(line) for line in lines] == [
        {"run": whose, **row.to_dict()} for row in result.history
    ]
    assert len((folder / "flow.jsonl").read_text().splitlines()) == 4 * 4
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2
    stored = json.loads((folder / "environment.json").read_text())
    assert stored["torch"] == torch.__version__
    assert stored["sizes"] == {"train": 80, "validation": 16, "test": 30}


@pytest.mark.parametrize(
    ("at", "missing"),
    [
        (("selu", 1, 2), [("selu", 1, 2)]),  # in its second epoch: the first is not trained again
        (("relu", 1, 1), [("relu", 1, 1), ("relu", 1, 2), ("selu", 1, 1), ("selu", 1, 2)]),
    ],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    config: Make, tmp_path: Path, at: tuple[str, int, int], missing: list[tuple[str, int, int]]
) -> None:
    """To the last bit: weights, optimiser, dropout and the order of images go on as they were."""
    whole = run(config(seeds=2, output_dir=None))
    run(config(seeds=2), interrupt_at(*at))
    file = tmp_path / "run" / "history.jsonl"
    file.write_text(file.read_text() + '{"activation": "re')  # cut off in the middle of a write
    resumed, again = trained(config(seeds=2, resume=True))
    assert numbers(resumed) == numbers(whole)
    assert again == missing
    assert len(file.read_text().splitlines()) == 8
    once_more, nothing = trained(config(seeds=2, resume=True))
    assert once_more.history == resumed.history
    assert nothing == []
    assert once_more.aggregate_images_per_second is None


def test_a_run_is_resumed_on_other_workers_with_the_same_result(config: Make) -> None:
    whole = run(config(output_dir=None))
    run(config(), interrupt_at("relu", 0, 2))
    assert numbers(run(config(resume=True, workers=2))) == numbers(whole)


def test_a_run_grows_by_epochs_seeds_and_activations(config: Make) -> None:
    run(config(act=("relu",)))
    grown, fresh = trained(config(epochs=3, seeds=2, resume=True))
    assert numbers(grown) == numbers(run(config(epochs=3, seeds=2, output_dir=None)))
    assert ("relu", 0, 1) not in fresh
    assert ("relu", 0, 3) in fresh
    part = run(config(act=("selu",), epochs=1, resume=True))  # less than there is
    assert [(row.activation, row.epoch) for row in part.history] == [("selu", 1)]
    assert len(read([str(config().output_dir)]).history) == 12  # and nothing was lost


def test_an_epoch_that_only_the_checkpoint_has_is_kept(config: Make, tmp_path: Path) -> None:
    whole = run(config(act=("relu",)))
    for name in ("history.jsonl", "flow.jsonl"):
        (tmp_path / "run" / name).write_text("")  # the command died before it was told
    resumed, again = trained(config(act=("relu",), resume=True))
    assert resumed.history == whole.history
    assert resumed.flow == whole.flow
    assert again == []


def test_checkpoints_hold_tensors_and_plain_values_alone(config: Make, tmp_path: Path) -> None:
    run(config(act=("relu",)))
    (file,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert file.name == "relu-batch_size=32-seed0.pt"
    stored = torch.load(file, weights_only=True)
    assert len(stored["epochs"]) == 2
    assert {"model", "optimizer", "random"} <= stored.keys()


@dataclass(frozen=True, kw_only=True)
class LaterSetting(Setting):
    """A setting of a later version, which has one more axis."""

    momentum: float = column("momentum", varied=True, default=0.9)


@dataclass(frozen=True, kw_only=True)
class LaterHistoryRow(LaterSetting, HistoryRow):
    """An epoch of a later version."""


@dataclass(frozen=True)
class LaterConfig(BenchmarkConfig):
    """What a later version is asked for."""

    momentum: tuple[float, ...] | float = option((0.9,), "Momenta.", several=float)


def test_a_later_version_with_one_more_axis_reads_an_old_folder(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(act=("relu",), epochs=1)
    run(asked)
    monkeypatch.setattr("gradflow.benchmarking.storage.folder.HistoryRow", LaterHistoryRow)
    monkeypatch.setattr("gradflow.benchmarking.storage.folder.BenchmarkConfig", LaterConfig)
    folder = RunDirectory(tmp_path / "run")
    (row,) = folder.history()
    assert (row.momentum, row.batch_size) == (0.9, 32)
    setting = LaterSetting(batch_size=32)
    assert folder.checkpoint(setting, 0).exists()
    assert not folder.checkpoint(dataclasses.replace(setting, momentum=0.5), 0).exists()
    later = LaterConfig(**vars(asked))
    data = images.load(asked.data).digest()
    for _ in range(2):  # what it writes can be resumed again
        folder.check(later.settings(), data, resume=True)
        folder.begin(later.settings(), folder.environment(), ())
    with pytest.raises(GradflowError, match=r"holds a run with momentum = 0.9, not 0.5"):
        folder.check(dataclasses.replace(later, momentum=0.5).settings(), data, resume=True)


def test_each_setting_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    every = [
        Setting(activation=act, arch=arch, lr=lr, clip=clip)
        for act, arch, lr, clip in itertools.product(
            ("relu", "leaky-relu"), ("cnn", "deep-mlp"), (1e-3, 0.1), ("value 0.5", "none")
        )
    ]
    assert len({folder.checkpoint(setting, seed) for setting in every for seed in (0, 1)}) == 32


def test_a_damaged_checkpoint_is_refused_with_its_name(config: Make, tmp_path: Path) -> None:
    run(config(act=("relu",), epochs=1))
    (file,) = (tmp_path / "run" / "checkpoints").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(GradflowError, match=r"checkpoint '.*seed0\.pt' is damaged"):
        run(config(act=("relu",), resume=True))
    file.unlink()
    assert len(run(config(act=("relu",), resume=True)).history) == 2  # it began anew
    assert load(str(tmp_path / "none.pt"), Origin("", RELU, 0)) is None


@pytest.mark.skipif(os.name != "posix", reason="of limits")
def test_a_checkpoint_that_has_no_room_is_said_and_the_last_one_kept(tmp_path: Path) -> None:
    resource = importlib.import_module("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path, weights = tmp_path / "one.pt", {"weight": torch.zeros(10_000)}
    Checkpoint({}, {}, {}, []).save(str(path), Origin("", RELU, 0))
    whole = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(GradflowError, match=r"cannot write '.*one\.pt'"):
            Checkpoint(weights, {}, {}, []).save(str(path), Origin("", RELU, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == whole


def test_a_folder_with_a_run_is_not_written_over(config: Make, tmp_path: Path) -> None:
    options = {"act": ("relu",), "epochs": 1}
    run(config(**options))
    before = (tmp_path / "run" / "history.jsonl").read_bytes()
    with pytest.raises(GradflowError, match="holds a run already"):
        run(config(**options))
    with pytest.raises(GradflowError, match=r"holds a run with lr = 0.001, not 0.01"):
        run(config(**options, resume=True, lr=0.01))
    with pytest.raises(GradflowError, match=r"holds a run with validation_size = 16, not 8"):
        run(config(**options, resume=True, validation_size=8))
    assert (tmp_path / "run" / "history.jsonl").read_bytes() == before


def test_a_resumed_run_keeps_its_number_of_threads(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(act=("relu",), epochs=1))
    monkeypatch.setattr(processes, "cores", lambda: 2)
    assert run(config(act=("relu",), resume=True)).meta.threads == 1


# Files


def test_records_that_are_not_finite_survive_the_file(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    folder.append(epoch_done(train_loss=math.inf, test_loss=-math.inf))
    (row,) = folder.history()
    assert (row.train_loss, row.test_loss) == (math.inf, -math.inf)
    folder.append(epoch_done(train_loss=math.nan))
    assert math.isnan(folder.history()[1].train_loss)
    for line in folder.history_file.read_text().splitlines():
        json.loads(line, parse_constant=_refuse)  # strict JSON: no bare NaN


def _refuse(name: str) -> None:
    raise ValueError(f"constant {name}")


@pytest.mark.parametrize("line", ["{}\n", "nonsense\n", "[1]\n", '{"activation": "relu"}\n'])
def test_a_damaged_history_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    folder = RunDirectory(tmp_path)
    folder.append(epoch_done())
    with folder.history_file.open("a") as file:
        file.write(line)
    with pytest.raises(GradflowError, match=r"history\.jsonl, line 2 is not an epoch"):
        folder.history()


@pytest.mark.parametrize("content", ["nonsense", "[]"])
def test_a_damaged_config_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(GradflowError, match=r"config\.json is damaged"):
        RunDirectory(tmp_path).config()


def test_a_file_in_the_folder_s_place_is_refused(config: Make, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("run", "link"):
        with pytest.raises(GradflowError, match=f"{name}' is no folder"):
            run(config(output_dir=str(tmp_path / name)))


# The journal


def test_a_run_is_finished_with_its_last_epoch() -> None:
    rows = [history_row(epoch=1), history_row(epoch=2), history_row(seed=1)]
    assert finished(rows, 2) == {(RELU, 0)}


def test_the_aggregate_is_by_the_busiest_worker() -> None:
    journal = Journal(None, None)
    for epoch, (worker, seconds) in enumerate([(0, 3.0), (1, 4.0), (0, 5.0)], start=1):
        journal(worker, epoch_done(epoch=epoch, seconds=seconds))
    journal(1, dataclasses.replace(epoch_done(epoch=9, seconds=100.0), restored=True))
    assert journal.aggregate(100) == pytest.approx(300 / 8)


def test_of_two_records_of_an_epoch_the_later_counts(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    for accuracy in (0.1, 0.2):
        folder.append(EpochDone(history_row(test_accuracy=accuracy), (flow_row(),)))
    journal = Journal(folder, None)
    assert [row.test_accuracy for row in journal.history([(RELU, 0)], 1)] == [0.2]
    folder.rewrite(journal.events.values())
    assert len(folder.history()) == len(folder.flow()) == 1


# Stored runs


def test_a_stored_run_reads_as_it_was(config: Make) -> None:
    result = run(config(seeds=2))
    again = read([str(config().output_dir)])
    assert again.records == result.records
    assert again.findings == result.findings
    assert (again.history, again.flow) == (result.history, result.flow)
    assert again.title == result.title


def test_stored_runs_are_compared(config: Make, tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("slow", "fast")]
    for folder, lr in zip(folders, (1e-6, 1e-3), strict=True):
        run(config(act=("relu",), seeds=2, epochs=6, lr=lr, output_dir=folder))
    result = read(folders, target=0.5)
    assert [row.source for row in result.records] == folders
    assert result.records[0].comparison == "reference"
    assert result.records[1].difference is not None
    assert result.epochs == 6


def test_runs_on_other_data_are_not_compared(config: Make, tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("a", "b")]
    for folder, size in zip(folders, (16, 32), strict=True):
        run(config(act=("relu",), epochs=1, train_size=size, output_dir=folder))
    with pytest.raises(GradflowError, match=r"other data than.*train 32.*not.*train 16"):
        read(folders)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GradflowError, match="holds no run"):
        read([str(tmp_path)])


def test_stored_runs_are_shown_without_torch(config: Make, tmp_path: Path) -> None:
    run(config(epochs=1))
    code = (
        "import sys; from gradflow.cli import main\n"
        f"sys.argv = ['gradflow', 'benchmark', '--from', {str(tmp_path / 'run')!r}, "
        f"'-o', {str(tmp_path / 'figure.png')!r}]\n"
        "try: main()\n"
        "except SystemExit as end: sys.exit(end.code or ('torch' in sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figure.png").stat().st_size > 10_000
