"""A watched run as scalars: tags, steps and values, and what becomes of the writer."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from support.finding_examples import watched

from gradflow.errors import GradflowError
from gradflow.report.scalars import scalars, write
from gradflow.results.watching import WatchHistoryRow, WatchResult


def recorded() -> WatchResult:
    """Return one step of five layers, with two numbers of the second layer."""
    known = {"step": 1, "index": 2, "gradient_log10_norm": -3.0}
    row = WatchHistoryRow(**(dict.fromkeys(WatchHistoryRow.columns()) | known))
    result: Any = watched(norms=(2.0, math.inf), history=(row,))
    return result


SCALARS = [("gradflow/norm_before", 1, 2.0), ("gradflow/gradient_log10_norm/linear", 1, -3.0)]


def test_what_is_known_and_finite_is_a_scalar() -> None:
    assert list(scalars(recorded())) == SCALARS


class Writer:
    """Stands for tensorboard's; one of a folder that ends in `full` cannot be made."""

    made: ClassVar[list[Writer]] = []

    def __init__(self, folder: str) -> None:
        if folder.endswith("full"):
            raise OSError(28, "No space left on device")
        self.events: list[Any] = []
        self.closed = False
        self.made.append(self)

    def add_event(self, event: Any) -> None:
        """Keep it."""
        self.events.append(event)

    def close(self) -> None:
        """Note that it is closed."""
        self.closed = True


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put modules of the names that are imported in the place of tensorboard's."""

    def summary(**given: Any) -> Any:
        return SimpleNamespace(**given)

    summary.Value = SimpleNamespace  # type: ignore[attr-defined]
    parts = {
        "tensorboard.compat.proto.event_pb2": {"Event": SimpleNamespace},
        "tensorboard.compat.proto.summary_pb2": {"Summary": summary},
        "tensorboard.summary.writer.event_file_writer": {"EventFileWriter": Writer},
    }
    for name, content in parts.items():
        whole = name.split(".")
        for depth in range(1, len(whole)):
            parent = ".".join(whole[:depth])
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("tensorboard")
def test_every_scalar_is_an_event_and_the_writer_is_closed() -> None:
    assert write(recorded(), "runs/1") == Path("runs/1")
    writer = Writer.made[-1]
    values = [
        (e.summary.value[0].tag, e.step, e.summary.value[0].simple_value) for e in writer.events
    ]
    assert values == SCALARS
    assert writer.closed


@pytest.mark.usefixtures("tensorboard")
def test_a_folder_that_cannot_be_written_to_is_said() -> None:
    with pytest.raises(GradflowError, match="cannot write to 'a/full': No space left"):
        write(recorded(), "a/full")
