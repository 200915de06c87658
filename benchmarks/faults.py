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
import json
import multiprocessing
import os
import re
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

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


def _child(script: Path, arguments: Sequence[str], seed: int, pipe: Any) -> None:
    """Run a program as `python SCRIPT …` would, in a process that has torch already."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    os.environ.update(environment(seed))
    sys.argv = [str(script), *arguments]
    text = StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        runpy.run_path(str(script), run_name="__main__")
    pipe.send(text.getvalue())


def outcome(script: Path, *arguments: str, seed: int = 0) -> tuple[Outcome, float]:
    """Train one program; return its last line and the seconds."""
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_child, args=(script, arguments, seed, there)
    )
    start = time.perf_counter()
    process.start()
    there.close()
    try:
        text = here.recv()
    except EOFError:
        raise SystemExit(f"{script.stem} {' '.join(arguments)} failed") from None
    finally:
        process.join()
    name, value, baseline = METRIC.findall(text)[-1]
    return Outcome(name, float(value), float(baseline)), time.perf_counter() - start


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
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch  # noqa: F401, PLC0415 (once, for all that are forked)

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


@dataclass
class Score:
    """What gradflow said of one program, and what that counts as."""

    id: str
    fault: str
    half: str
    mark: str
    said: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0
    why: str = ""

    @property
    def detected(self) -> bool:
        """Whether broken and fixed are told apart."""
        return self.mark in {"detected", "named"}


def watched(script: Path, *arguments: str) -> tuple[Findings | None, float, str]:
    """Return severities and codes, the seconds, and why there are none."""
    command = [str(Path(sys.executable).with_name("gradflow")), "watch", "--json", str(script)]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        document = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return None, time.perf_counter() - start, f"no answer in {TIME_LIMIT} s"
    except json.JSONDecodeError:
        return (
            None,
            time.perf_counter() - start,
            (done.stderr.strip().splitlines() or ["no JSON"])[-1],
        )
    found = [*document["findings"], *(f for m in document.get("models", []) for f in m["findings"])]
    pairs = frozenset((f["severity"], f["code"]) for f in found)
    return pairs, time.perf_counter() - start, ""


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
    broken, t1, why1 = watched(script, "broken")
    fixed, t2, why2 = watched(script, "fixed")
    row = Score(case.id, case.fault, case.half, "no answer", seconds=round(t1 + t2, 1))
    if broken is None or fixed is None:
        row.why = why1 or why2
        return row
    row.mark = judged(broken, fixed, case.accepted)
    row.said = {"broken": words(broken), "fixed": words(fixed)}
    return row


def score_clean(script: Path) -> Score:
    """Watch a clean program."""
    found, seconds, why = watched(script)
    row = Score(script.stem, "clean", "", "no answer", seconds=round(seconds, 1), why=why)
    if found is not None:
        row.mark = "alarm" if errors(found) else "clean"
        row.said = {"clean": words(found)}
    return row


def scores(folder: Path, prefixes: Sequence[str], half: str) -> Iterator[Score]:
    """Watch every program, one after the other."""
    for case in cases(folder, prefixes, half):
        yield score_case(case, folder)
    for path in clean_programs(folder, prefixes):
        yield score_clean(path)


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


def score(folder: Path, prefixes: Sequence[str], half: str) -> list[Score]:
    """Print and return what gradflow says of every program."""
    rows = []
    for row in scores(folder, prefixes, half):
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
    parser.add_argument("--half", choices=("A", "B"), default="", help="even or odd numbers only")
    parser.add_argument("--seeds", type=int, default=3, help="of check")
    parser.add_argument("-o", "--output", type=Path, help="a file of JSON lines")
    return parser.parse_args()


def main() -> None:
    """Run one of the two commands."""
    options = parsed()
    if options.command == "check":
        rows = check(options.folder, options.ids, range(options.seeds))
    else:
        rows = [asdict(row) for row in score(options.folder, options.ids, options.half)]
    if options.output:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        options.output.write_text(text, encoding="utf-8")
    if options.command == "check":
        sys.exit(not all(row["good"] for row in rows))


if __name__ == "__main__":
    main()
