"""A run's folder: config, environment, a line per epoch as it comes, checkpoints.

    config.json        what the numbers depend on
    environment.json   where they were made
    history.jsonl      an epoch per line
    flow.jsonl         a layer in an epoch per line
    checkpoints/       the state of every run after its last epoch
    result.json, table.md, figure.png    of what is there so far (written by the command)

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from gradflow.benchmark.events import EpochDone
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.errors import GradflowError
from gradflow.results.base import Row
from gradflow.results.benchmark import FlowRow, HistoryRow, Setting
from gradflow.results.nonfinite import decoded, encoded

_CONFIG, _ENVIRONMENT = "config.json", "environment.json"
#: What a resumed run may be given more of.
_GROWS = ("act", "seeds", "epochs")

#: What the name of a checkpoint consisted of, behind the activation, whatever the values were.
_FIELDS_OF_0_1 = ("arch", "init", "optimizer", "lr", "batch_size", "dropout", "clip")

R = TypeVar("R", bound=Row)


class RunDirectory:
    """The folder of one run of ``benchmark``.

    Parameters
    ----------
    path
        Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history_file, self.flow_file = path / "history.jsonl", path / "flow.jsonl"
        self.checkpoints = path / "checkpoints"

    def open(self, config: dict[str, Any], environment: dict[str, Any], resume: bool) -> None:
        """Make the folder, or find the run in it that is to be resumed.

        Raises
        ------
        GradflowError
            If there is a run and `resume` is False, or its config is another; if a file cannot be
            read or written.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if self.holds_a_run():
                self._check(config, resume)
            _write(self.path / _CONFIG, config)
            _write(self.path / _ENVIRONMENT, environment)
        except OSError as error:
            raise GradflowError(f"cannot use folder '{self.path}': {error.strerror}") from error

    def holds_a_run(self) -> bool:
        """Whether there is one to resume."""
        return (self.path / _CONFIG).exists()

    def config(self) -> dict[str, Any]:
        """Return the stored config.

        Raises
        ------
        GradflowError
            If there is none, or it is damaged.
        """
        return self._document(_CONFIG)

    def environment(self) -> dict[str, Any]:
        """Return the stored environment, as `config`."""
        return self._document(_ENVIRONMENT)

    def _document(self, name: str) -> dict[str, Any]:
        file = self.path / name
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(stored, dict):
                raise ValueError("not an object")
        except OSError as error:
            raise GradflowError(
                f"'{self.path}' holds no run: cannot read {name}: {error.strerror}",
                "name a folder that --output-dir wrote",
            ) from error
        except ValueError as error:
            raise GradflowError(
                f"{file} is damaged: {error}", "choose another --output-dir"
            ) from error
        return stored

    def _check(self, config: dict[str, Any], resume: bool) -> None:
        if not resume:
            raise GradflowError(
                f"'{self.path}' holds a run already",
                "--resume continues it; or another --output-dir",
            )
        stored = {**BenchmarkConfig().settings(), **self.config()}  # older ones have fewer fields
        for key in config.keys() | stored.keys():
            ours, theirs = config.get(key), stored.get(key)
            if ours != theirs and key not in _GROWS:
                raise GradflowError(
                    f"'{self.path}' holds a run with {key} = {_shown(theirs)}, not {_shown(ours)}",
                    "resume with the options of the first run, or choose another --output-dir",
                )

    def checkpoint(self, setting: Setting, seed: int) -> Path:
        """Return the file of a run's checkpoint, named after what differs from the defaults.

        A file that gradflow 0.1 wrote is found under the name that it had there.
        """
        differing = setting.differing()
        differing.pop("activation", None)
        words = [setting.activation, *(f"{name}={value}" for name, value in differing.items())]
        if differing.keys() <= set(_FIELDS_OF_0_1):
            values = [str(value) for name in _FIELDS_OF_0_1 if (value := getattr(setting, name))]
            old = self._checkpoint([setting.activation, *values], seed)
            if old.exists():
                return old
        return self._checkpoint(words, seed)

    def _checkpoint(self, words: Iterable[str], seed: int) -> Path:
        name = "-".join([*words, f"seed{seed}"]).replace("/", "_").replace(" ", "")
        return self.checkpoints / f"{name}.pt"

    def history(self) -> list[HistoryRow]:
        """Return the stored epochs; a last line that was cut off is left out.

        Raises
        ------
        GradflowError
            If another line is not an epoch.
        """
        return list(_rows(self.history_file, HistoryRow))

    def flow(self) -> list[FlowRow]:
        """Return the stored layers, as `history`."""
        return list(_rows(self.flow_file, FlowRow))

    def rewrite(self, events: Iterable[EpochDone]) -> None:
        """Make the files hold exactly these epochs.

        Raises
        ------
        GradflowError
            If they cannot be written.
        """
        events = list(events)
        for file, lines in (
            (self.history_file, [_line(event.history) for event in events]),
            (self.flow_file, [_line(row) for event in events for row in event.flow]),
        ):
            temporary = file.with_suffix(".tmp")
            with _writing(file):
                temporary.write_text("".join(lines), encoding="utf-8")
                temporary.replace(file)

    def append(self, event: EpochDone) -> None:
        """Add one epoch; the system has it when this returns.

        Raises
        ------
        GradflowError
            If it cannot be written.
        """
        for file, rows in ((self.flow_file, event.flow), (self.history_file, (event.history,))):
            with _writing(file), file.open("a", encoding="utf-8") as stream:
                stream.write("".join(map(_line, rows)))
                stream.flush()
                os.fsync(stream.fileno())


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GradflowError(f"cannot write {file}: {error.strerror}") from error


def _write(file: Path, document: dict[str, Any]) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(file)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rows(file: Path, kind: type[R]) -> Iterator[R]:
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate((line for line in lines if line.endswith("\n")), start=1):
        yield _row(file, number, line, kind)


def _row(file: Path, number: int, line: str, kind: type[R]) -> R:
    try:
        return kind(**decoded(json.loads(line)))
    except (ValueError, TypeError, AttributeError) as error:
        raise GradflowError(
            f"{file}, line {number} is not an epoch: {error}", "choose another --output-dir"
        ) from error


def _line(row: Row) -> str:
    return json.dumps(encoded(row.to_dict()), allow_nan=False) + "\n"
