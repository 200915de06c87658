"""Mutants differ from the code in one place, and are noticed where a test looks there."""

from __future__ import annotations

import ast
import importlib.util
import random
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


def test_nothing_is_replaced_by_itself(mutants: Any) -> None:
    node = ast.parse("def f():\n    return None").body[0].body[0]
    assert mutants.changes(node) == []


def test_a_mutant_is_the_file_but_for_one_line(mutants: Any) -> None:
    for seed in range(3):
        mutant = mutants.drawn(mutants.GROUPS["policies"], random.Random(seed))
        before = ast.unparse(ast.parse(mutant.path.read_text(encoding="utf-8"))).splitlines()
        after = ast.unparse(mutant.tree).splitlines()
        assert len(before) == len(after)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
