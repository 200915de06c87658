"""Change one operator, comparison, constant or return of the code at a time: do its tests notice?

    python scripts/mutants.py --count 40             # drawn at random, of each group
    python scripts/mutants.py --only theory --seed 1
    python scripts/mutants.py --workers 16 --minutes 20 --count 10000 --log mutants.jsonl
    python scripts/mutants.py --file gradflow/theories/wide.py        # every one of a file

A mutant is killed if a test of its group fails, or takes much longer than it did: the tests that
name its module come first, the others only where those notice nothing. Survivors are printed, to be
read one by one: a test is missing, or the change makes no difference. `equivalent_mutants.txt` has
those that make none, with the reason; they are counted apart. The log has a line of JSON for each
as it is done, and what is in it is not tried again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import importlib.machinery
import io
import itertools
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import matplotlib.figure  # noqa: F401, loaded once for all
import pytest
import scipy.special
import torch
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[1]
#: Mutants that change nothing, each as ``path: change`` beneath a ``#`` line that says why.
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")


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
            "tests/diagnosis/checks",
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

    @property
    def file(self) -> str:
        """The path from the root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


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


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    code = path.read_text(encoding="utf-8")
    for number, place in enumerate(places(ast.parse(code))):
        for other in range(len(changes(place))):
            yield changed(path, code, number, other)


def changed(path: Path, code: str, number: int, other: int) -> Mutant:
    """Return a file with one of its places changed."""
    tree = ast.parse(code)
    place = list(places(tree))[number]
    new = changes(place)[other]
    change = _said(place, new, code)
    mutated = ast.fix_missing_locations(_Swap(place, new).visit(tree))
    return Mutant(path, getattr(place, "lineno", 0), change, mutated)


def changes_of(path: Path) -> list[str]:
    """Return what every mutant of a file changes, in words."""
    code = path.read_text(encoding="utf-8")
    return [_said(place, new, code) for place in places(ast.parse(code)) for new in changes(place)]


def equivalent() -> set[str]:
    """Return the mutants that are known to change nothing, as ``path: change``."""
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def _said(place: ast.AST, new: ast.AST, code: str) -> str:
    return f"{_marked(place, code)}  →  {_text(new)}"


def _marked(place: ast.AST, code: str) -> str:
    """Return the first line of a place, with brackets around it."""
    first, start = getattr(place, "lineno", 1), getattr(place, "col_offset", 0)
    line = code.splitlines()[first - 1].encode()
    whole = getattr(place, "end_lineno", first) == first
    end = getattr(place, "end_col_offset", 0) if whole else len(line)
    before, inside, after = line[:start], line[start:end], line[end:]
    return f"{before.decode()}⟦{inside.decode()}{'' if whole else '…'}⟧{after.decode()}".strip()


def files(group: Group) -> list[Path]:
    """Return the files of a group."""
    return sorted(path for pattern in group.files for path in ROOT.glob(pattern))


def drawn(group: Group, random_: random.Random) -> Iterator[Mutant]:
    """Yield the mutants of a group in random order, each place as likely as another."""
    codes = {path: path.read_text(encoding="utf-8") for path in files(group)}
    found = [
        (path, number, other)
        for path, code in codes.items()
        for number, place in enumerate(places(ast.parse(code)))
        for other in range(len(changes(place)))
    ]
    random_.shuffle(found)
    for path, number, other in found:
        yield changed(path, codes[path], number, other)


class _Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, ast.copy_location(new, old)

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def tests_of(group: Group, path: Path | None) -> list[list[str]]:
    """Return the tests of a group: those that name the module of a file first, then the others."""
    found = [file for place in group.tests for file in _test_files(ROOT / place)]
    if path is None:
        return [[str(file) for file in found]]
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    named = [f"from {module} import", f"from {module.rpartition('.')[0]} import {path.stem}\n"]
    own = f"test_{path.stem}"
    near = [
        file
        for file in found
        if file.stem.startswith(own) or any(text in file.read_text("utf-8") for text in named)
    ]
    near.sort(key=lambda file: (not file.stem.startswith(own), file.stat().st_size))
    others = [file for file in found if file not in near]
    return [[str(file)] for file in near] + [[str(file) for file in others]]


def _test_files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("test_*.py"))


class _FirstFailure:
    """Notes the first test that fails."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.name = self.name or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.name = self.name or report.nodeid


def killer(group: Group, mutant: Mutant | None, near: bool = False) -> str:
    """Return the first test that fails with a mutant in the place of its file; none: ''."""
    if mutant is not None:
        _put_in(mutant)
    phases = [Phase.explicit, Phase.generate]  # whether it fails is enough: no shrinking
    settings.register_profile(
        "mutants", deadline=None, phases=phases, database=None, max_examples=20
    )
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # it is loaded once for all
    os.chdir(ROOT)
    batches = tests_of(group, None if mutant is None else mutant.path)
    for tests in batches[:-1] if near else batches:
        noted = _FirstFailure()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = pytest.main([*options, *tests], plugins=[noted]) if tests else 0
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return noted.name or f"exit code {int(code)}"
    return ""


def _put_in(mutant: Mutant) -> None:
    loader = importlib.machinery.SourceFileLoader
    original = loader.get_code

    def get_code(self: Any, fullname: str) -> CodeType | None:
        if Path(self.path) == mutant.path:
            return compile(mutant.tree, str(mutant.path), "exec")
        return original(self, fullname)

    loader.get_code = get_code  # type: ignore[assignment]


def started(
    group: Group, mutant: Mutant | None, seconds: float, said: Path, near: bool = False
) -> int:
    """Run the tests in a process of its own, for so many seconds at most; return its number."""
    process = os.fork()
    if not process:
        code = 3
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # of a processor: it may be busy
            said.write_text(killer(group, mutant, near), encoding="utf-8")
            code = 0
        finally:
            os._exit(code)
    return process


class Running(NamedTuple):
    """A mutant whose tests run."""

    group: str
    mutant: Mutant
    since: float
    said: Path


class Tally:
    """Counts what was tried and killed, of each group, and writes it down as it happens."""

    def __init__(self, names: Iterable[str], log: Path | None) -> None:
        self.tried, self.killed = Counter(dict.fromkeys(names, 0)), Counter(dict.fromkeys(names, 0))
        self.equal = Counter(dict.fromkeys(names, 0))
        self.known, self.log = equivalent(), log

    def note(self, run: Running, status: int) -> None:
        """Count one that is done, and write it down."""
        by = run.said.read_text("utf-8") if os.waitstatus_to_exitcode(status) == 0 else "time"
        self.count(run.group, run.mutant, by)
        if self.log is not None:
            seconds = round(time.perf_counter() - run.since, 2)
            entry = {"group": run.group, "where": run.mutant.where, "change": run.mutant.change}
            entry |= {"killed_by": by, "seconds": seconds}
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def count(self, group: str, mutant: Mutant, by: str) -> None:
        """Count one by what killed it; print it where it survives."""
        self.tried[group] += 1
        self.killed[group] += bool(by)
        if not by and f"{mutant.file}: {mutant.change}" in self.known:
            self.equal[group] += 1
        elif not by:
            print(f"survives  {mutant.where}: {mutant.change[:300]}", flush=True)

    def untried(self, mutants: Iterator[tuple[str, Mutant]]) -> Iterator[tuple[str, Mutant]]:
        """Yield those that are not in the log; those that are, are counted from it."""
        lines = self.log.read_text("utf-8").splitlines() if self.log and self.log.exists() else []
        done = {(e["where"], e["change"]): e["killed_by"] for e in map(json.loads, lines)}
        for group, mutant in mutants:
            by = done.get((mutant.where, mutant.change))
            if by is None:
                yield group, mutant
            else:
                self.count(group, mutant, by)

    def show(self) -> None:
        """Print the counts of each group, and of all."""
        for name, tried in [*self.tried.items(), ("all", self.tried.total())]:
            counts = self.killed, self.equal
            killed, equal = (c.total() if name == "all" else c[name] for c in counts)
            share = f" ({killed / (tried - equal):.1%})" if tried > equal else ""
            apart = f", {equal:,} change nothing" if equal else ""
            print(f"{name}: {tried:,} mutants{apart}, {killed:,} killed{share}", flush=True)


def try_all(
    mutants: Iterator[tuple[str, Mutant]],
    seconds: dict[str, float],
    tally: Tally,
    chosen: argparse.Namespace,
) -> None:
    """Try mutants side by side until there are none left, or no time."""
    running: dict[int, Running] = {}
    end = time.perf_counter() + 60 * chosen.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        said = (Path(folder, str(number)) for number in itertools.count())
        try:
            while True:
                late = time.perf_counter() > end
                free = len(running) < chosen.workers and not late
                following = next(mutants, None) if free else None
                if following is not None:
                    name, mutant = following
                    run = Running(name, mutant, time.perf_counter(), next(said))
                    process = started(GROUPS[name], mutant, seconds[name], run.said, chosen.near)
                    running[process] = run
                elif running:
                    process, status = os.wait()
                    tally.note(running.pop(process), status)
                else:
                    return
        finally:  # who ends this ends them
            for process in running:
                os.kill(process, signal.SIGKILL)


def usual_seconds(names: Iterable[str]) -> dict[str, float]:
    """Return how long the tests of each group take, side by side; they have to pass."""
    start, found = time.perf_counter(), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        running = {started(GROUPS[name], None, 3600, Path(folder, name)): name for name in names}
        while running:
            process, status = os.wait()
            name = running.pop(process)
            failed = Path(folder, name).read_text("utf-8") if status == 0 else f"status {status}"
            if failed:
                raise SystemExit(f"{name}: a test fails as it is: {failed}")
            found[name] = time.perf_counter() - start
    return found


def in_turn(draws: dict[str, Iterator[Mutant]]) -> Iterator[tuple[str, Mutant]]:
    """Yield a mutant of each group in turn."""
    for found in itertools.zip_longest(*draws.values()):
        yield from ((n, m) for n, m in zip(draws, found, strict=True) if m is not None)


def chosen_mutants(chosen: argparse.Namespace) -> dict[str, Iterator[Mutant]]:
    """Return what is to be tried, of each group."""
    if chosen.file is not None:
        path = chosen.file.resolve()
        names = [name for name, group in GROUPS.items() if path in files(group)]
        if not names:
            raise SystemExit(f"{chosen.file} is in no group")
        return {names[0]: mutants_of(path)}
    names = [chosen.only] if chosen.only else list(GROUPS)
    return {
        name: itertools.islice(
            drawn(GROUPS[name], random.Random(f"{name} {chosen.seed}")), chosen.count
        )
        for name in names
    }


def main(argv: list[str] | None = None) -> int:
    """Try mutants of every group; return 0, since survivors are to be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(GROUPS))
    parser.add_argument("--file", type=Path, help="every mutant of this file")
    parser.add_argument("--count", type=int, default=40, help="of each group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="in all, at most")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path, help="a line of JSON for each is added to this file")
    parser.add_argument(
        "--usual", type=float, help="seconds that the tests take, and pass, as they are"
    )
    parser.add_argument("--near", action="store_true", help="only tests that name the module")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(1)
    scipy.special.erf(0.5)
    draws = chosen_mutants(chosen)
    usual = (
        dict.fromkeys(draws, chosen.usual or 20.0)
        if chosen.near or chosen.usual
        else usual_seconds(draws)
    )
    seconds = {name: 3 * taken + 20 for name, taken in usual.items()}
    gc.freeze()  # pytest collects garbage several times: not what is loaded here
    tally = Tally(draws, chosen.log)
    try_all(tally.untried(in_turn(draws)), seconds, tally, chosen)
    tally.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
