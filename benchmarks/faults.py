"""How well `gradflow watch` tells what is wrong with training programs that are broken on purpose.

`benchmarks/faults/` holds programs that take `broken` or `fixed`, clean ones that could fool a
checker, and `index.json`, which says what is wrong with each and which finding codes name it.
Every program ends with a line `metric NAME VALUE baseline VALUE`; the baseline is what a constant
answer reaches.

    python benchmarks/faults.py check [ID…]    train all, and see that broken is broken
    python benchmarks/faults.py score [ID…]    run `gradflow watch --json` on each, and count

What `score` counts:

- detected: on the broken program there is an error or a warning whose code is not among those on
  the fixed one, and the fixed one has no error;
- named: detected, and one of these codes is accepted as the cause;
- alarm: an error on a fixed or a clean program.

Programs with an even number make half A, which the checks may be built on; the odd ones make half
B, which only judges.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import runpy
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "faults"
METRIC = re.compile(r"^metric (\w+) (\S+) baseline (\S+)$", re.MULTILINE)
HIGHER_IS_BETTER = "accuracy"  # a metric whose name ends so; of any other, less is better
LEARNT, NOT_LEARNT = 0.5, 0.5  # shares of the way from the baseline to perfect
TIMES_THE_ERROR = 5.0  # or: what broken leaves, in what fixed leaves
TIME_LIMIT = 300


# ------------------------------------------------------------------------------ the programs


@dataclass(frozen=True)
class Case:
    """A program of two variants; see `faults/index.json`."""

    id: str
    fault: str
    truth: str
    fix: str
    accepted: tuple[str, ...]
    source: str = ""

    @property
    def half(self) -> str:
        """A for an even number, B for an odd one."""
        return "AB"[int(self.id.split("_")[0]) % 2]


def cases(folder: Path, prefixes: Sequence[str] = (), half: str = "") -> list[Case]:
    """Return the broken programs of a folder."""
    entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    known = Case.__dataclass_fields__
    found = [Case(**{k: v for k, v in entry.items() if k in known}) for entry in entries]
    found = [case for case in found if not half or case.half == half]
    return [case for case in found if not prefixes or case.id.startswith(tuple(prefixes))]


def clean_programs(folder: Path, prefixes: Sequence[str] = ()) -> list[Path]:
    """Return the clean programs of a folder."""
    found = sorted((folder / "clean").glob("*.py"))
    return [path for path in found if not prefixes or path.stem.startswith(tuple(prefixes))]


def environment(seed: int = 0) -> dict[str, str]:
    """Return what the programs read of the environment."""
    mnist = str(files("gradflow") / "data" / "mnist.npz")
    return {**os.environ, "MNIST_NPZ": mnist, "OMP_NUM_THREADS": "1", "SEED": str(seed)}


def warm_up() -> None:
    """Import once what every program needs: the children are forked from here."""
    os.environ.update(environment())
    for name in ("torch._dynamo", "matplotlib.figure", "gradflow.cli.app", "gradflow.script.run"):
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)


def in_a_child(call: Callable[[], None], seed: int = 0) -> tuple[str, str, float, str]:
    """Run in a forked process; return stdout, stderr, the seconds, and why it failed."""
    start = time.perf_counter()
    with TemporaryFile() as out, TemporaryFile() as err:
        sys.stdout.flush()
        process = os.fork()
        if not process:
            _as_a_program(call, seed, out.fileno(), err.fileno())
        why = _end_of(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    why = why and (texts[1].strip().splitlines() or [why])[-1]
    return texts[0], texts[1], time.perf_counter() - start, why


def _as_a_program(call: Callable[[], None], seed: int, out: int, err: int) -> NoReturn:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.update(environment(seed))
    code = 1
    try:
        call()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_of(process: int) -> str:
    """Wait for a child; return why it failed."""
    end = time.monotonic() + TIME_LIMIT
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return f"exit code {os.waitstatus_to_exitcode(status)}" if status else ""
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return f"no answer in {TIME_LIMIT} s"


# ------------------------------------------------------------------------------ check


@dataclass(frozen=True)
class Outcome:
    """What a program printed last."""

    name: str
    value: float
    baseline: float

    @property
    def skill(self) -> float:
        """1 is perfect, 0 as good as a constant answer."""
        if self.value != self.value:  # NaN
            return -1.0
        if self.name.endswith(HIGHER_IS_BETTER):
            return (self.value - self.baseline) / (1 - self.baseline)
        return 1 - self.value / self.baseline


def learnt(fixed: Outcome) -> bool:
    """Whether a program trained."""
    return fixed.skill >= LEARNT


def is_broken(broken: Outcome, fixed: Outcome) -> bool:
    """Whether it stays near its baseline, or clearly behind the fixed program."""
    left = (1 - broken.skill) / max(1 - fixed.skill, 1e-9)
    return broken.skill < NOT_LEARNT * fixed.skill or left >= TIMES_THE_ERROR


def outcome(script: Path, *arguments: str, seed: int = 0) -> tuple[Outcome, float]:
    """Train one program as `python SCRIPT …` would; return its last line and the seconds."""

    def call() -> None:
        sys.argv = [str(script), *arguments]
        runpy.run_path(str(script), run_name="__main__")

    text, _, seconds, why = in_a_child(call, seed)
    found = last_line(text)
    if found is None:
        raise SystemExit(f"{script.stem} {' '.join(arguments)}: {why}")
    return found, seconds


def last_line(text: str) -> Outcome | None:
    """Return what a program printed last."""
    found = METRIC.findall(text)
    return Outcome(found[-1][0], *map(float, found[-1][1:])) if found else None


def check_case(case: Case, folder: Path, seeds: range) -> dict[str, Any]:
    """Train both variants of a program with each seed."""
    script = folder / "cases" / f"{case.id}.py"
    runs = [(outcome(script, "broken", seed=s), outcome(script, "fixed", seed=s)) for s in seeds]
    pairs = [(broken, fixed) for (broken, _), (fixed, _) in runs]
    good = all(learnt(fixed) and is_broken(broken, fixed) for broken, fixed in pairs)
    return {
        "id": case.id,
        "metric": pairs[0][0].name,
        "broken": [round(broken.value, 4) for broken, _ in pairs],
        "fixed": [round(fixed.value, 4) for _, fixed in pairs],
        "baseline": pairs[0][0].baseline,
        "seconds": round(statistics.median(t for run in runs for _, t in run), 1),
        "good": good,
    }


def check_clean(script: Path, seeds: range) -> dict[str, Any]:
    """Train a clean program with each seed."""
    runs = [outcome(script, seed=s) for s in seeds]
    return {
        "id": script.stem,
        "metric": runs[0][0].name,
        "clean": [round(o.value, 4) for o, _ in runs],
        "baseline": runs[0][0].baseline,
        "seconds": round(statistics.median(t for _, t in runs), 1),
        "good": all(learnt(o) for o, _ in runs),
    }


def check(folder: Path, prefixes: Sequence[str], seeds: range) -> list[dict[str, Any]]:
    """Print and return what training says of every program."""
    jobs: list[Callable[[], dict[str, Any]]] = [
        lambda case=case: check_case(case, folder, seeds)  # type: ignore[misc]
        for case in cases(folder, prefixes)
    ]
    jobs += [
        lambda path=path: check_clean(path, seeds)  # type: ignore[misc]
        for path in clean_programs(folder, prefixes)
    ]
    rows = []
    for job in jobs:
        row = job()
        rows.append(row)
        told = "  ".join(f"{k} {row[k]}" for k in ("broken", "fixed", "clean") if k in row)
        mark = "good" if row["good"] else "BAD"
        print(
            f"{mark:5} {row['id']}  {row['metric']}  {told}  baseline {row['baseline']}"
            f"  {row['seconds']} s",
            flush=True,
        )
    return rows


# ------------------------------------------------------------------------------ score

Findings = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Watched:
    """What a program was told, severities and codes, and what it printed last itself."""

    found: Findings | None
    outcome: Outcome | None
    seconds: float
    why: str = ""


@dataclass
class Score:
    """What gradflow said of one program, and what that counts as."""

    id: str
    fault: str
    half: str
    mark: str
    said: dict[str, list[str]] = field(default_factory=dict)
    outcomes: list[float | None] = field(default_factory=list)
    seconds: float = 0.0
    why: str = ""

    @property
    def detected(self) -> bool:
        """Whether broken and fixed are told apart."""
        return self.mark in {"detected", "named"}


def watched(script: Path, *arguments: str) -> Watched:
    """Run `gradflow watch --json SCRIPT …`."""

    def call() -> None:
        from gradflow.cli import main  # noqa: PLC0415

        sys.argv = ["gradflow", "watch", "--json", str(script), *arguments]
        main()

    out, err, seconds, why = in_a_child(call)
    try:
        document = json.loads(out)
    except json.JSONDecodeError:
        return Watched(None, None, seconds, why or "no JSON")
    found = [*document["findings"], *(f for m in document.get("models", []) for f in m["findings"])]
    return Watched(frozenset((f["severity"], f["code"]) for f in found), last_line(err), seconds)


def loud(found: Findings) -> set[str]:
    """Return the codes of errors and warnings."""
    return {code for severity, code in found if severity in {"error", "warning"}}


def errors(found: Findings) -> set[str]:
    """Return the codes of errors."""
    return {code for severity, code in found if severity == "error"}


def judged(broken: Findings, fixed: Findings, accepted: Iterable[str]) -> str:
    """Return ``named``, ``detected``, ``alarm`` or ``missed``."""
    if errors(fixed):
        return "alarm"
    new = loud(broken) - loud(fixed)
    if new & set(accepted):
        return "named"
    return "detected" if new else "missed"


def words(found: Findings) -> list[str]:
    """Return the loud findings as text, errors with an exclamation mark."""
    wrong = errors(found)
    return [f"{code}!" if code in wrong else code for code in sorted(loud(found))]


def score_case(case: Case, folder: Path) -> Score:
    """Watch both variants of a program."""
    script = folder / "cases" / f"{case.id}.py"
    broken, fixed = watched(script, "broken"), watched(script, "fixed")
    row = Score(case.id, case.fault, case.half, "no answer")
    row.seconds = round(broken.seconds + fixed.seconds, 1)
    row.outcomes = [o.value if (o := w.outcome) else None for w in (broken, fixed)]
    if broken.found is None or fixed.found is None:
        row.why = broken.why or fixed.why
        return row
    row.mark = judged(broken.found, fixed.found, case.accepted)
    row.said = {"broken": words(broken.found), "fixed": words(fixed.found)}
    return row


def score_clean(script: Path) -> Score:
    """Watch a clean program."""
    seen = watched(script)
    row = Score(script.stem, "clean", "", "no answer", seconds=round(seen.seconds, 1), why=seen.why)
    row.outcomes = [seen.outcome.value if seen.outcome else None]
    if seen.found is not None:
        row.mark = "alarm" if errors(seen.found) else "clean"
        row.said = {"clean": words(seen.found)}
    return row


def scores(options: argparse.Namespace) -> Iterator[Score]:
    """Watch every program asked for, one after the other."""
    folder: Path = options.folder
    for case in [] if options.clean else cases(folder, options.ids, options.half):
        yield score_case(case, folder)
    for path in [] if options.half else clean_programs(folder, options.ids):
        yield score_clean(path)


def kept(path: Path) -> Iterator[Score]:
    """Return the rows of a file that `-o` wrote."""
    for text in path.read_text(encoding="utf-8").splitlines():
        yield Score(**json.loads(text))


def line(row: Score) -> str:
    """Return one program's line."""
    told = "  ".join(f"{k}: {' '.join(v) or '–'}" for k, v in row.said.items())
    return f"{row.mark:10} {row.id}  {told or row.why}"


def table(rows: Sequence[Score]) -> Iterator[str]:
    """Return a line per kind of fault, and the totals."""
    faulty = [row for row in rows if row.fault != "clean"]
    for fault in sorted({row.fault for row in faulty}):
        yield _counts(fault, [row for row in faulty if row.fault == fault])
    for half in "AB":
        yield _counts(f"half {half}", [row for row in faulty if row.half == half])
    yield _counts("all", faulty)
    clean = [row for row in rows if row.fault == "clean"]
    alarms = sum(row.mark in {"alarm", "no answer"} for row in rows)
    yield f"{'clean':20} {len(clean):3}  alarms {sum(r.mark != 'clean' for r in clean):3}"
    yield f"alarms on fixed and clean programs: {alarms} of {len(rows)}"


def _counts(name: str, rows: Sequence[Score]) -> str:
    counts = [sum(row.detected for row in rows)]
    counts += [sum(row.mark == mark for row in rows) for mark in ("named", "alarm")]
    return (
        f"{name:20} {len(rows):3}  detected {counts[0]:3}  named {counts[1]:3}  "
        f"alarms {counts[2]:3}"
    )


def score(options: argparse.Namespace) -> list[Score]:
    """Print and return what gradflow says of every program."""
    rows = []
    for row in kept(options.kept) if options.kept else scores(options):
        rows.append(row)
        print(line(row), flush=True)
    print(*table(rows), sep="\n")
    return rows


# ------------------------------------------------------------------------------ the command


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("check", "score"))
    parser.add_argument("ids", nargs="*", help="the first letters of programs' names; default: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="with index.json and cases/")
    parser.add_argument(
        "--from", dest="kept", type=Path, metavar="FILE", help="score: of a file that -o wrote"
    )
    parser.add_argument("--clean", action="store_true", help="score: the clean programs alone")
    parser.add_argument("--half", choices=("A", "B"), default="", help="even or odd numbers only")
    parser.add_argument("--seeds", type=int, default=3, help="of check")
    parser.add_argument("-o", "--output", type=Path, help="a file of JSON lines")
    return parser.parse_intermixed_args()


def main() -> None:
    """Run one of the two commands."""
    options = parsed()
    if not options.kept:
        warm_up()
    if options.command == "check":
        rows = check(options.folder, options.ids, range(options.seeds))
    else:
        rows = [asdict(row) for row in score(options)]
    if options.output:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        options.output.write_text(text, encoding="utf-8")
    if options.command == "check":
        sys.exit(not all(row["good"] for row in rows))


if __name__ == "__main__":
    main()
