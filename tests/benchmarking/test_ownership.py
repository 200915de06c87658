"""A run folder is of one run or it is not: what is refused before anything is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.benchmark_runs import idx, numbers, small, write_stripes

from gradflow.benchmarking.events import EpochDone, Event
from gradflow.benchmarking.run import benchmark as run
from gradflow.benchmarking.storage.folder import VIEWS, locked
from gradflow.benchmarking.stored import read_benchmark as read
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.errors import GradflowError

pytestmark = pytest.mark.usefixtures("one_core")

Contents = dict[str, bytes | str | None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of a run and of its images; copied, never written to."""
    root = tmp_path_factory.mktemp("finished")
    (root / "images").mkdir()
    asked = small(write_stripes(root / "images"), output_dir=str(root / "run"))
    run(asked)
    return root / "run", root / "images"


@pytest.fixture
def folder(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    return copied(finished[0], tmp_path / "run")


@pytest.fixture
def ask(finished: tuple[Path, Path], tmp_path: Path) -> Callable[..., BenchmarkConfig]:
    """Return what makes a config that resumes the copy."""

    def make(**options: Any) -> BenchmarkConfig:
        given = {"output_dir": str(tmp_path / "run"), "resume": True, "epochs": 3, **options}
        return small(given.pop("data", str(finished[1])), **given)

    return make


def copied(source: Path, target: Path) -> Path:
    """Copy a folder of files, one level deep and one below."""
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


def contents(folder: Path) -> Contents:
    """Return every file of a folder with its bytes, links with where they lead; no lock."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def refuse(config: BenchmarkConfig, folder: Path, words: str) -> None:
    """Assert that a run is refused in these words, and that no file is other than before."""
    before = contents(folder)
    with pytest.raises(GradflowError, match=words) as caught:
        run(config)
    assert "weights_only" not in str(caught.value)
    assert contents(folder) == before


# Whose folder it is


@pytest.mark.parametrize(
    "name", [*VIEWS, "config.json", "history.jsonl", "run.json", "checkpoints/notes.txt"]
)
def test_files_that_no_run_wrote_are_left_alone(
    ask: Callable[..., BenchmarkConfig], tmp_path: Path, name: str
) -> None:
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).write_text("mine")
    words = "is damaged" if name == "run.json" else "no run of gradflow wrote it"
    refuse(ask(resume=False), tmp_path / "run", words)
    refuse(ask(), tmp_path / "run", words)


def test_other_files_may_lie_beside_a_run(
    ask: Callable[..., BenchmarkConfig], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run(ask(resume=False, act=("relu",), epochs=1))
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_images_that_were_replaced_are_noticed(
    ask: Callable[..., BenchmarkConfig], folder: Path, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    """Whatever their names and sizes are, and whether the config is there or not."""
    data = copied(finished[1], tmp_path / "data")
    labels = np.arange(96, dtype=np.uint8)[::-1] % 3
    (data / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    refuse(ask(data=str(data)), folder, "contents of --data .* are not what they were")
    (folder / "config.json").unlink()
    refuse(ask(data=str(data)), folder, "contents of --data .* are not what they were")
    refuse(ask(data=str(data), resume=False), folder, "holds a run already")


def test_images_may_move_and_a_config_may_be_lost(
    ask: Callable[..., BenchmarkConfig], folder: Path, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    (folder / "config.json").unlink()
    refuse(ask(lr=0.1), folder, "holds a run with other options")
    moved = ask(data=str(copied(finished[1], tmp_path / "moved")), epochs=2)
    assert numbers(run(moved)) == numbers(read([str(finished[0])]))
    assert json.loads((folder / "config.json").read_text())["data"] == moved.data


def test_a_run_of_gradflow_0_1_is_shown_and_not_continued(
    ask: Callable[..., BenchmarkConfig], folder: Path, finished: tuple[Path, Path]
) -> None:
    (folder / "run.json").unlink()
    for name in ("history.jsonl", "flow.jsonl"):
        lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for line in lines:
            del line["run"]
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert numbers(read([str(folder)])) == numbers(read([str(finished[0])]))
    refuse(ask(), folder, "a run of gradflow 0.1, which does not say what its images were")


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("history.jsonl", "history.jsonl", "line 1 is not an epoch: it is of another run"),
        ("config.json", "config.json", "was changed, or is of another run"),
        (
            "checkpoints/relu-batch_size=32-seed0.pt",
            "checkpoints/relu-lr=0.01-batch_size=32-seed0.pt",
            "damaged: it is of another run",
        ),
    ],
)
def test_parts_of_another_run_are_refused(
    ask: Callable[..., BenchmarkConfig],
    folder: Path,
    tmp_path: Path,
    name: str,
    source: str,
    words: str,
) -> None:
    other = tmp_path / "other"
    run(ask(lr=0.01, output_dir=str(other), epochs=1, resume=False))
    (folder / name).write_bytes((other / source).read_bytes())
    refuse(ask(), folder, words)


def test_two_processes_do_not_write_to_one_folder(
    ask: Callable[..., BenchmarkConfig], folder: Path
) -> None:
    code = (
        "from gradflow.benchmarking.storage.folder import locked\n"
        "from pathlib import Path\n"
        f"with locked(Path({str(folder)!r})): print('held', flush=True); input()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        refuse(ask(), folder, "another process is at work in")
        holder.kill()
    with locked(folder):  # a killed process holds nothing
        pass


# Links and what is no file


@pytest.mark.parametrize("name", [*VIEWS, "history.jsonl", "run.json", "checkpoints"])
def test_nothing_is_written_through_a_link(
    ask: Callable[..., BenchmarkConfig], folder: Path, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    if (folder / name).exists():
        (folder / name).rename(victim)
    else:
        victim.write_text("mine")
    (folder / name).symlink_to(victim)
    before = contents(victim) if victim.is_dir() else victim.read_bytes()
    refuse(ask(), folder, "is a link or no")
    assert before == (contents(victim) if victim.is_dir() else victim.read_bytes())


def test_links_at_temporary_names_lead_nowhere(
    ask: Callable[..., BenchmarkConfig], folder: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("history", "flow", "config", "checkpoints/relu-batch_size=32-seed0.pt"):
        (folder / f"{name}.tmp").symlink_to(victim)
    run(ask())
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["run.json", "config.json", "history.jsonl", "checkpoints/relu-batch_size=32-seed0.pt"]
)
def test_a_pipe_is_refused_at_once(
    ask: Callable[..., BenchmarkConfig], folder: Path, name: str
) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refuse(ask(), folder, "no regular file")


# Checkpoints


def change(stored: dict[str, Any], how: str) -> None:
    """Change what a checkpoint holds."""
    if how == "weights":
        next(iter(stored["model"].values()))[:] = torch.nan
    elif how == "epochs":
        stored["epochs"] *= 5
    elif how == "order":
        stored["random"]["order"][0] += 1
    elif how == "optimizer":
        stored["optimizer"]["param_groups"][0]["lr"] = 1.0
    elif how == "rows":
        stored["epochs"][0]["history"]["test_accuracy"] = 1.0
    else:
        del stored[how]


@pytest.mark.parametrize(
    "how", ["weights", "epochs", "order", "optimizer", "rows", "model", "random", "digest"]
)
def test_a_checkpoint_that_was_changed_is_refused(
    ask: Callable[..., BenchmarkConfig], folder: Path, how: str
) -> None:
    file = folder / "checkpoints" / "relu-batch_size=32-seed0.pt"
    stored = torch.load(file, weights_only=True)
    change(stored, how)
    torch.save(stored, file)
    refuse(ask(), folder, r"checkpoint .* is damaged: its contents are not those")


def test_a_checkpoint_under_another_s_name_is_refused(
    ask: Callable[..., BenchmarkConfig], folder: Path
) -> None:
    file = folder / "checkpoints" / "relu-batch_size=32-seed0.pt"
    (folder / "checkpoints" / "selu-batch_size=32-seed0.pt").rename(file)
    refuse(ask(act=("relu",)), folder, "it was trained as selu, seed 0")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"nonsense" * 999])
def test_what_is_no_checkpoint_is_refused(
    ask: Callable[..., BenchmarkConfig], folder: Path, content: bytes
) -> None:
    (folder / "checkpoints" / "relu-batch_size=32-seed0.pt").write_bytes(content)
    refuse(ask(), folder, r"checkpoint .* is damaged: it is no checkpoint of this run")


# Documents


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("run.json", '"threads": 1', '"threads": 1000000', "'threads': it should be from 1"),
        ("run.json", '"threads": 1', '"threads": "1"', "'threads': it should be a whole number"),
        ("run.json", '"format": 1', '"format": 2', "its format is 2, not 1"),
        ("config.json", "{", "[" * 100_000, "nested too deeply"),
        ("config.json", "{", "\xff", "is damaged"),
        ("history.jsonl", '"epoch": 1,', '"epoch": 0,', "'epoch' is 0, not from 1"),
        ("history.jsonl", '"epoch": 1,', '"epoch": true,', "should be a whole number, not True"),
        ("history.jsonl", '"seed": 0', '"seed": 1e999', "should be a whole number, not inf"),
        ("history.jsonl", '"train_accuracy": 0', '"train_accuracy": 7', "not from 0 to 1"),
        ("history.jsonl", '"arch": "cnn"', '"arch": "\\ud800"', "half a character"),
        ("flow.jsonl", '"index": 1', '"index": ' + "9" * 5000, "line 1 is not an epoch"),
        ("flow.jsonl", '"name": ', '"nome": ', "has a field 'nome', which is none"),
    ],
)
def test_values_that_cannot_be_are_refused(
    ask: Callable[..., BenchmarkConfig], folder: Path, name: str, old: str, new: str, words: str
) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_bytes(text.replace(old, new, 1).encode("latin-1"))
    refuse(ask(), folder, words)
    with pytest.raises(GradflowError, match=words):
        read([str(folder)])


# Runs that were killed


class Killed(BaseException):
    """What stands for SIGKILL: nothing catches it, nothing is said or closed."""


@pytest.mark.parametrize("at", range(4))
def test_a_run_that_was_killed_anywhere_is_resumed_to_the_same_bits(
    ask: Callable[..., BenchmarkConfig],
    finished: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    """Killed before, while and after an epoch was written down; then once more, and resumed."""
    count = iter(range(10))

    def kill(event: Event) -> None:
        if isinstance(event, EpochDone) and next(count) == at:
            raise Killed

    with pytest.raises(Killed):
        run(ask(epochs=2, resume=False), kill)
    assert numbers(run(ask(epochs=2))) == numbers(read([str(finished[0])]))
