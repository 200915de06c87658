"""Mutants differ from the code in one place, and are noticed where a test looks there."""

from __future__ import annotations

import ast
import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutants.py"


@pytest.fixture(scope="module")
def mutants() -> Any:
    spec = importlib.util.spec_from_file_location("mutants", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("a < b", {"a <= b"}),
        ("a is b", {"a is not b"}),
        ("a + b", {"a - b"}),
        ("a and b", {"a or b"}),
        ("-a", {"a"}),
        ("3", {"4", "2"}),
        ("0.5", {"1.0", "0.25"}),
        ("True", {"False"}),
        ("'text'", set()),
    ],
)
def test_what_an_expression_becomes(mutants: Any, code: str, changed: set[str]) -> None:
    node = ast.parse(code, mode="eval").body
    assert {ast.unparse(other) for other in mutants.changes(node)} == changed


def test_types_decorators_and_messages_are_left_alone(mutants: Any) -> None:
    tree = ast.parse(
        "@frozen(True)\ndef f(x: A[1] = 2) -> B[3]:\n"
        "    y: C[4] = 5\n    raise E(6)\n    return x\n"
    )
    assert [ast.unparse(place) for place in mutants.places(tree)] == ["2", "5", "return x"]


def test_what_is_said_to_change_nothing_is_a_mutant(mutants: Any) -> None:
    known: dict[str, set[str]] = {}
    for line in mutants.equivalent():
        path, _, change = line.partition(": ")
        known.setdefault(path, set()).add(change)
    assert len(known) > 0
    for path, changes in known.items():
        assert changes - set(mutants.changes_of(mutants.ROOT / path)) == set()


def test_nothing_is_replaced_by_itself(mutants: Any) -> None:
    node = ast.parse("def f():\n    return None").body[0].body[0]
    assert mutants.changes(node) == []


def changed_lines(mutant: Any) -> int:
    before = ast.unparse(ast.parse(mutant.path.read_text(encoding="utf-8"))).splitlines()
    after = ast.unparse(mutant.tree).splitlines()
    assert len(before) == len(after)
    return sum(a != b for a, b in zip(before, after, strict=True))


def test_a_mutant_is_the_file_but_for_one_line(mutants: Any) -> None:
    drawn = mutants.drawn(mutants.GROUPS["policies"], random.Random(3))
    assert [changed_lines(mutant) for mutant, _ in zip(drawn, range(3), strict=False)] == [1] * 3


def test_a_draw_is_the_same_each_time_and_holds_every_mutant_of_a_file_once(
    mutants: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.py").write_text("a = 1 + 2\nb = not a or 0.5\n", encoding="utf-8")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    group = mutants.Group(("*.py",), ())
    draws = [[m.change for m in mutants.drawn(group, random.Random(seed))] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 9
    assert sorted(draws[0]) == sorted(m.change for m in mutants.mutants_of(tmp_path / "x.py"))


def test_the_place_is_marked_in_its_line(mutants: Any) -> None:
    changes = [
        mutants.changed(Path("x.py"), "def φ(x):\n    return x or x\n", at, 0).change
        for at in (0, 1)
    ]
    assert changes == ["⟦return x or x⟧  →  return None", "return ⟦x or x⟧  →  x and x"]


def test_tests_that_name_a_module_come_first_and_none_is_left_out(mutants: Any) -> None:
    group = mutants.GROUPS["theory"]
    first, *others = mutants.tests_of(group, mutants.ROOT / "gradflow" / "theories" / "wide.py")
    assert [Path(file).name for file in first] == ["test_wide.py"]
    found = [*first, *(file for batch in others for file in batch)]
    (everything,) = mutants.tests_of(group, None)
    assert sorted(found) == sorted(everything)


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import mutants
mutants.ROOT = Path(sys.argv[2])
mutants.EQUIVALENT = Path(sys.argv[4])
mutants.GROUPS = {"g": mutants.Group(("x.py",), ("test_x.py",))}
mutants.main(["--log", sys.argv[3], "--workers", "2"])
"""


def test_a_mutant_is_killed_by_a_test_that_notices_it(tmp_path: Path) -> None:
    module, test, log = tmp_path / "x.py", tmp_path / "test_x.py", tmp_path / "log"
    module.write_text("N, M = 1, 7\n", encoding="utf-8")
    test.write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "import x\ndef test_n():\n    assert x.N == 1\n",
        encoding="utf-8",
    )
    known = tmp_path / "equivalent"
    known.write_text("# It is never read.\nx.py: N, M = 1, ⟦7⟧  →  6\n", encoding="utf-8")
    paths = [str(path) for path in (SCRIPT.parent, tmp_path, log, known)]
    command = [sys.executable, "-c", PROGRAM, *paths]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "survives  x.py:1: N, M = 1, ⟦7⟧  →  8" in out
    assert "→  6" not in out
    counts = "4 mutants, 1 change nothing, 2 killed (66.7%)"
    assert out.endswith(f"g: {counts}\nall: {counts}\n")
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert again.splitlines() == out.splitlines()
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    killed = {entry["change"]: entry["killed_by"].endswith("::test_n") for entry in entries}
    assert killed == {f"N, M = ⟦1⟧, 7  →  {n}": True for n in (0, 2)} | {
        f"N, M = 1, ⟦7⟧  →  {n}": False for n in (6, 8)
    }
