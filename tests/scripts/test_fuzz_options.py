"""The fuzzer of options goes up to where a calculation begins, and finds what is broken there."""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gradflow.errors import GradflowError

SCRIPTS = Path(__file__).parents[2] / "scripts"
ERROR = "error: --depth must be at least 1\n"


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Any]:
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("fuzz_options")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def folder(fuzz: Any) -> Iterator[Path]:
    with fuzz.workshop() as folder:
        yield folder


def test_every_parameter_of_every_command_is_drawn(fuzz: Any) -> None:
    seen: dict[str, set[str]] = {name: set() for name in fuzz.commands()}
    for number in range(6000):
        name, arguments = fuzz.one_input(0, number)
        seen[name] |= {text.partition("=")[0] for text in arguments}
    for name, command in fuzz.commands().items():
        assert {option for parameter in command.params for option in parameter.opts} - {
            parameter.name for parameter in command.params if parameter.param_type_name != "option"
        } <= seen[name]


def test_an_input_is_always_the_same(fuzz: Any) -> None:
    inputs = [fuzz.one_input(3, number) for number in range(20)]
    assert inputs == [fuzz.one_input(3, number) for number in range(20)]
    assert len({tuple(i.arguments) for i in inputs}) > 15
    assert inputs != [fuzz.one_input(4, number) for number in range(20)]


def test_a_value_is_meant_or_not(fuzz: Any) -> None:
    (depth,) = (p for p in fuzz.commands()["diagnose"].params if p.name == "depth")
    drawn = {fuzz.value(depth, random.Random(n), 1.0) for n in range(200)}
    assert drawn == {"5", "6", "10", "11", "20", "21"}
    assert len({fuzz.value(depth, random.Random(n), 0.0) for n in range(200)}) > 100


def test_a_tally_is_gone_on_from(
    fuzz: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tally = Path("tally.json")
    tally.write_text(json.dumps({"chain": {"2": 5, "stopped": 2, "broken": 1}}), encoding="utf-8")
    assert fuzz.main(["--count", "7", "--tally", str(tally)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("chain: 7 inputs (5 × 2, 2 × stopped)\n")
    assert out.endswith("1 broken\n")
    assert fuzz.main(["--count", "9", "--tally", str(tally)]) == 1
    assert "9 inputs tried" in capsys.readouterr().out
    after = fuzz.read_tally(tmp_path / tally)
    assert fuzz.total_of(after) == 9
    assert after["chain"]["broken"] == 1


@pytest.mark.parametrize("name", ["activations", "diagnose", "lr", "sweep", "width", "benchmark"])
def test_every_command_comes_to_its_calculation_and_no_further(
    fuzz: Any, folder: Path, name: str
) -> None:
    ending = fuzz.ended([name, *fuzz.BASE[name]], folder)
    opening = {"diagnose": "Theory: ", "sweep": "Theory: ", "lr": "… ", "width": "… "}.get(name, "")
    assert ending.out.startswith(opening)
    assert ending.out.count("\n") == bool(opening)
    assert ending._replace(out="") == ("stopped", "", "", frozenset())
    assert not fuzz.broken(name, ending)


@pytest.mark.parametrize(("out", "broken"), [("", False), ("… lr\n", False), ("layer 1\n", True)])
def test_what_is_refused_has_printed_no_more_than_its_first_line(
    fuzz: Any, out: str, broken: bool
) -> None:
    ending = fuzz.Ending(2, out, "error: not enough memory\n", frozenset())
    assert fuzz.broken("diagnose", ending) is broken


def test_the_calculation_of_a_program_is_its_run(fuzz: Any, folder: Path) -> None:
    for name in ("watch", "lr"):
        assert fuzz.ended([name, "program.py"], folder).code == "stopped"
        assert fuzz.ended([name, "none.py"], folder).code == 2


def test_a_refusal_is_seen_whole_and_what_is_left_is_removed(
    fuzz: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fuzz.ended(["eval", "relu", "--at", "x"], folder).err.startswith("error: --at")

    def leave(*_: Any, **__: Any) -> NoReturn:
        Path("left.json").write_text("{}", encoding="utf-8")
        raise GradflowError("no")

    monkeypatch.setattr("gradflow.functions.chain.multiplied", leave)
    for _ in range(2):
        ending = fuzz.ended(["chain"], folder)
        assert [Path(path).name for path in ending.left] == ["left.json"]
        assert fuzz.broken("chain", ending)
    assert not Path("left.json").exists()


def test_a_planted_defect_is_found_and_without_it_nothing_is(
    fuzz: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.is_dir()
    numbers = [n for n in range(400) if fuzz.one_input(1, n).name == "chain"]

    def failed() -> int:
        endings = [fuzz.ended(fuzz.one_input(1, n).arguments, folder) for n in numbers]
        return sum(fuzz.broken("chain", ending) for ending in endings)

    assert failed() == 0
    monkeypatch.setattr("gradflow.functions.chain.multiplied", lambda *_, **__: 1 / 0)
    assert failed() > 0


@pytest.mark.parametrize(
    ("ending", "is_broken"),
    [
        (("stopped", "", "", frozenset()), False),
        ((0, "text", "", frozenset()), False),
        ((2, "", ERROR, frozenset()), False),
        ((2, "", f"{ERROR}hint: try --depth 1\n", frozenset()), False),
        (("late", "", "", frozenset()), False),
        ((2, "", f"{ERROR}{ERROR}", frozenset()), True),
        ((2, "", f"{ERROR}hint: a\nhint: b\n", frozenset()), True),
        ((2, "", f"warning\n{ERROR}", frozenset()), True),
        ((2, "", "", frozenset()), True),
        ((2, "a table", ERROR, frozenset()), True),
        ((2, "", ERROR, frozenset({"x.json"})), True),
        (("stopped", "", "a warning", frozenset()), True),
        (("stopped", "", "", frozenset({"x.json"})), True),
        ((70, "", "error: internal\n", frozenset()), True),
        ((1, "", ERROR, frozenset()), True),
        (("ValueError: x", "", "", frozenset()), True),
    ],
)
def test_how_no_input_may_end(fuzz: Any, ending: tuple[Any, ...], is_broken: bool) -> None:
    assert fuzz.broken("diagnose", fuzz.Ending(*ending)) is is_broken


def test_a_benchmark_has_its_folder_before_it_trains(fuzz: Any) -> None:
    left = frozenset({"run", "run/config.json"})
    assert not fuzz.broken("benchmark", fuzz.Ending("stopped", "", "", left))
    assert fuzz.broken("benchmark", fuzz.Ending(2, "", ERROR, left))
