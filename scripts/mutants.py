"""Change one operator, comparison, constant or return of the code at a time: do its tests notice?

    python scripts/mutants.py --count 40             # drawn at random, of each group
    python scripts/mutants.py --only theory --seed 1

A mutant is killed if a test of its group fails, or takes much longer than it did. Survivors are
printed, to be read one by one: a test is missing, or the change makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.machinery
import io
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import matplotlib.figure  # noqa: F401, loaded once for all
import pytest
import scipy.special
import torch
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[1]


class Group(NamedTuple):
    """Files to change, and the tests that have to notice, the quickest first."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = {
    "activations": Group(("gradflow/activations/*.py",), ("tests/activations",)),
    "theory": Group(("gradflow/theories/*.py",), ("tests/theories",)),
    "policies": Group(("gradflow/clipping/policies.py",), ("tests/clipping/test_policies.py",)),
    "checks": Group(
        ("gradflow/diagnosis/checks/*.py",),
        (
            "tests/diagnosis/test_checks.py",
            "tests/diagnosis/test_margins.py",
            "tests/diagnosis/test_parts.py",
            "tests/diagnosis/test_zeros.py",
            "tests/findings/test_codes.py",
        ),
    ),
    "measurement": Group(
        tuple(f"gradflow/measurement/{name}.py" for name in ("norms", "quick_stats", "rates"))
        + tuple(f"gradflow/measurement/{name}.py" for name in ("records", "slopes", "stats")),
        ("tests/measurement",),
    ),
}

SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
#: Of a function or assignment: what says something of types, or how a class is made.
NOT_CODE = ("annotation", "returns", "decorator_list", "type_params")


class Mutant(NamedTuple):
    """A file with one change."""

    path: Path
    line: int
    change: str
    tree: ast.Module


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what can be changed, without types, decorators and messages."""
    if isinstance(node, ast.Raise) or (isinstance(node, ast.If) and "TYPE_CHECKING" in _text(node)):
        return
    if changes(node):
        yield node
    for name, value in ast.iter_fields(node):
        if name not in NOT_CODE:
            for inside in value if isinstance(value, list) else [value]:
                if isinstance(inside, ast.AST):
                    yield from places(inside)


def changes(node: ast.AST) -> list[ast.AST]:
    """Return what a node can be replaced by."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        return [_with(node, ops=[SWAPPED[type(node.ops[0])](), *node.ops[1:]])]
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPPED:
        return [_with(node, op=SWAPPED[type(node.op)]())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return [node.operand]
    if isinstance(node, ast.Constant):
        return [ast.Constant(other) for other in _others(node.value)]
    if isinstance(node, ast.Return) and node.value is not None and _text(node) != "return None":
        return [ast.Return(ast.Constant(None))]
    return []


def _others(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [value * 2, value / 2] if isinstance(value, float) and value else []


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _text(node: ast.AST) -> str:
    return ast.unparse(node)


def drawn(group: Group, random_: random.Random) -> Mutant:
    """Return a file of the group with one change at random, each place as likely as another."""
    paths = sorted(path for pattern in group.files for path in ROOT.glob(pattern))
    found = [(path, number) for path in paths for number in range(len(_places(path)))]
    path, number = random_.choice(found)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    place = list(places(tree))[number]
    other = random_.choice(changes(place))
    change = f"{_text(place)}  →  {_text(other)}"
    new = _Swap(place, other).visit(tree)
    return Mutant(path, getattr(place, "lineno", 0), change, ast.fix_missing_locations(new))


def _places(path: Path) -> list[ast.AST]:
    return list(places(ast.parse(path.read_text(encoding="utf-8"))))


def different(group: Group, count: int, random_: random.Random) -> Iterator[Mutant]:
    """Yield so many mutants of a group, none of them twice."""
    seen: set[tuple[Path, int, str]] = set()
    while len(seen) < count:
        mutant = drawn(group, random_)
        if mutant[:3] not in seen:
            seen.add(mutant[:3])
            yield mutant


class _Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, ast.copy_location(new, old)

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def passes(group: Group, mutant: Mutant | None, seconds: float) -> bool:
    """Return whether the tests pass, in a process of its own, within so many seconds."""
    process = os.fork()
    if not process:
        signal.alarm(int(seconds) + 1)
        code = 3
        try:
            code = _tested(group, mutant)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def _tested(group: Group, mutant: Mutant | None) -> int:
    """Run the tests with a mutant in the place of its file; return pytest's exit code."""
    if mutant is not None:
        _put_in(mutant)
    phases = [Phase.explicit, Phase.generate]  # whether it fails is enough: no shrinking
    settings.register_profile(
        "mutants", deadline=None, phases=phases, database=None, max_examples=20
    )
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # it is loaded once for all
    os.chdir(ROOT)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(pytest.main([*options, *group.tests]))


def _put_in(mutant: Mutant) -> None:
    loader = importlib.machinery.SourceFileLoader
    original = loader.get_code

    def get_code(self: Any, fullname: str) -> CodeType | None:
        if Path(self.path) == mutant.path:
            return compile(mutant.tree, str(mutant.path), "exec")
        return original(self, fullname)

    loader.get_code = get_code  # type: ignore[assignment]


def survivors(
    name: str, group: Group, count: int, random_: random.Random, minutes: float = math.inf
) -> tuple[int, int]:
    """Try so many mutants, print those that survive; return how many did, and were tried."""
    start = time.perf_counter()
    if not passes(group, None, 3600):
        raise SystemExit(f"{name}: its tests fail as it is")
    usual = time.perf_counter() - start
    alive = tried = 0
    for mutant in different(group, count, random_):
        if time.perf_counter() - start > 60 * minutes:
            break
        tried += 1
        if passes(group, mutant, 2 * usual + 10):
            alive += 1
            where = mutant.path.relative_to(ROOT)
            print(f"survives  {where}:{mutant.line}: {mutant.change[:300]}", flush=True)
    killed = tried - alive
    print(f"{name}: {tried} mutants, {killed} killed ({killed / max(tried, 1):.0%})", flush=True)
    return alive, tried


def main(argv: list[str] | None = None) -> int:
    """Try mutants of every group; return 0, since survivors are to be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(GROUPS))
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each group, at most")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(1)
    scipy.special.erf(0.5)
    random_ = random.Random(chosen.seed)
    names = [chosen.only] if chosen.only else list(GROUPS)
    found = [survivors(n, GROUPS[n], chosen.count, random_, chosen.minutes) for n in names]
    alive, total = (sum(counts) for counts in zip(*found, strict=True))
    print(f"{total} mutants, {total - alive} killed ({(total - alive) / max(total, 1):.1%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
