"""Give the command line a million inputs, each up to where its calculation would begin.

    python scripts/fuzz_options.py --count 1000000 --tally tally.json --minutes 3

Everything before that is the command's own: parsing, bounds, names, sizes, what does not go
together, output files, data that is read, how an error ends. `STOPS` says where a calculation
begins; there a run is ended, and counts as `stopped`. One weight stands in for every network, 160
images for MNIST. `scripts/fuzz_cli.py` runs whole commands, far more slowly.

The options are read from the app itself. An input is up to six of them, with values that nobody
should type, random text, random numbers and lists, values that are meant, or none at all. Input
number n of a seed is always the same one: `--start n --count 1` tries it again.

An input is broken if it ends in a traceback, with another exit code than 0 and 2, in an error that
is anything but `error: …` on one line of stderr and perhaps `hint: …` on another, in a word on
stderr without an error, or with a file that it left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import io
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from fuzz_cli import BASE, VALUES, commands, completed, group, prepared_folder, text

from gradflow.datasets.images import load

#: Where a calculation begins, or, of what takes no time, where its result is shown.
STOPS = (
    "gradflow.cli.output.Output.show",
    "gradflow.functions.costs.relative_costs",
    "gradflow.functions.evaluate.catalogue",
    "gradflow.functions.evaluate.EvalResult",
    "gradflow.theories.meanfield.critical_weight_variance",
    "gradflow.diagnosis.builtin.loss_function",
    "gradflow.diagnosis.model_files.measured_module",
    "gradflow.learning_rates.run.range_test",
    "gradflow.sweeps.run.run_each",
    "gradflow.widths.campaign.run_each",
    "gradflow.clipping.run.first_gradient",
    "gradflow.benchmarking.run.run_each",
    "gradflow.benchmarking.plan.run_each",
    "gradflow.script.run.ScriptRun.run",
    "gradflow.script.rates.RateRun.run",
)
#: Bytes beyond what is in use: what asks for more is refused, as on a small machine.
MEMORY = 2**28
#: Shares of values that are meant: an input is refused for its first bad value, so few of some.
MEANT = (0.4, 0.8, 0.97)
SECONDS = 2
#: Inputs after which the tally is written.
AT_ONCE = 2000
MODEL = "import torch\nnet = torch.nn.Linear(3, 2)\ndef wide(width):\n    return net\n"
_FILES = "program.py model.py:net model.py:wide model.py images 3 4,3 out.png out.json"
#: What stands before the result, folded where it is longer than a line.
_OPENING = re.compile(r"((Theory: |… )[^\n]+\n([a-z][^\n]*\n)?)?")
_ERROR = re.compile(r"error: [^\n]+\n(hint: [^\n]+\n)?")


class Stopped(BaseException):
    """A run that came to where it would calculate."""


class Late(BaseException):
    """A run that was given up."""


class Input(NamedTuple):
    """A command line, and the command that it is for."""

    name: str
    arguments: list[str]


class Ending(NamedTuple):
    """How a command line ended, and what it left."""

    code: Any
    out: str
    err: str
    left: frozenset[str]


def one_input(seed: int, number: int) -> Input:
    """Return an input: of a seed and a number always the same."""
    random_ = random.Random(f"{seed} {number}")
    known = commands()
    name = random_.choice(list(known))
    drawn = _drawn(known[name], random_, random_.choice(MEANT))
    base = BASE.get(name, []) if random_.random() < 0.9 else []
    options = {option for parameter in known[name].params for option in parameter.opts}
    arguments = [*base, *drawn] if drawn[:1] and drawn[0] in options else [*drawn, *base]
    typed = name if random_.random() < 0.995 else text(random_)
    return Input(name, [typed, *arguments])


def _drawn(command: Any, random_: random.Random, meant: float) -> list[str]:
    found: list[str] = []
    for parameter in random_.choices(command.params, k=random_.randint(1, 6)):
        found = _with(parameter, found, random_, meant)
    strange = random_.random()
    if strange < 0.02:
        found.append(random_.choice(found)[:-1] or "-")
    elif strange < 0.03:
        found.insert(random_.randint(0, len(found)), text(random_))
    elif strange < 0.031:
        found.append("--help")
    return found


def _with(parameter: Any, found: list[str], random_: random.Random, meant: float) -> list[str]:
    """Return what was drawn before with a parameter as well: in one of the ways to type it."""
    typed = value(parameter, random_, meant)
    if parameter.param_type_name == "argument":
        return [typed, *found]
    option = random_.choice([*parameter.opts, *parameter.secondary_opts])
    way = random_.random()
    if parameter.is_flag or way < 0.02:  # or without the value that it takes
        return [*found, option]
    return [*found, f"{option}={typed}"] if way < 0.12 else [*found, option, typed]


def value(parameter: Any, random_: random.Random, meant: float = 0.4) -> str:
    """Return a value for a parameter: meant, or one that nobody should type."""
    if random_.random() < meant:
        return _meant(parameter, random_)
    kind = random_.random()
    if kind < 0.3:
        return random_.choice(VALUES)
    if kind < 0.5:
        return text(random_)
    if kind < 0.75:
        return _number(random_)
    parts = [value(parameter, random_, 0.5) for _ in range(random_.randint(1, 4))]
    return random_.choice(",,, :").join(parts)


def _meant(parameter: Any, random_: random.Random) -> str:
    if "output" in parameter.name:
        return f"{text(random_)[:3]}{random_.choice(['.json', '.png', '.md', '.csv', '.html'])}"
    if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
        kind = type(parameter.default)
        return str(kind(parameter.default * random_.choice([1, 2, 0.5]) + random_.randint(0, 1)))
    return random_.choice(completed(parameter) or [*"123", "0.5", "1,2", *_FILES.split()])


def _number(random_: random.Random) -> str:
    """Return a number of any size: as many are tiny as are huge."""
    drawn = random_.choice([1, 1, -1]) * 10 ** random_.uniform(-9, 12) * random_.random()
    return random_.choice([f"{drawn:.0f}", f"{drawn:g}", f"{drawn:.3f}", f"{drawn:e}"])


def ended(
    arguments: Sequence[str], folder: Path, seconds: float = SECONDS, before: Set[str] | None = None
) -> Ending:
    """Run a command line up to its calculation; return how it ended, and remove what it left.

    What lies in the folder `before` is looked up where it is not given.
    """
    before = _files(folder) if before is None else before
    out, err = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    sys.stdin = io.StringIO("0.5 1\n")
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            group().main(list(arguments), "gradflow")
    except SystemExit as end:
        code = end.code
    except Stopped:
        code = "stopped"
    except Late:
        code = "late"
    except BaseException as error:  # whatever it is, it is what we look for
        code = f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdin = sys.__stdin__
    left = _files(folder) - before
    for path in left:
        _remove(path)
    return Ending(code, out.getvalue(), err.getvalue(), frozenset(left))


def broken(name: str, end: Ending) -> bool:
    """Return whether an input ended as none may."""
    if end.code == "late":
        return False
    begun = name == "benchmark" and end.code == "stopped"  # its folder is there before it trains
    if end.left and not begun:
        return True
    if end.code == 2:  # found out, perhaps, when the first line of the result stood already
        return not _OPENING.fullmatch(end.out) or not _ERROR.fullmatch(end.err)
    return end.code not in (0, "stopped") or bool(end.err)


def _files(folder: Path) -> set[str]:
    """Return the paths of all there is in a folder."""
    found, todo = set[str](), [str(folder)]
    while todo:
        for entry in os.scandir(todo.pop()):
            found.add(entry.path)
            if entry.is_dir(follow_symlinks=False):
                todo.append(entry.path)
    return found


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114, no Path of \udcff
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108


def _stop(*_: Any, **__: Any) -> Any:
    raise Stopped


def _small(*_: Any, **__: Any) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(1, 1))


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Let every calculation end where it begins; little stands in for what takes long to make."""
    few = functools.cache(lambda: load(Path("images").resolve()))
    stand_ins: dict[str, Any] = {
        "gradflow.networks.architectures.loaded": lambda _: _small,
        "gradflow.datasets.images._embedded": few,
        "gradflow.functions.evaluate.CURVE_POINTS": 3,
    }
    with contextlib.ExitStack() as stack:
        for address, stand_in in [*((stop, _stop) for stop in STOPS), *stand_ins.items()]:
            stack.enter_context(mock.patch(address, stand_in))
        yield


@contextlib.contextmanager
def workshop() -> Iterator[Path]:
    """Work in a folder of its own, on little memory; give all that may be written to."""
    usual = tempfile.tempdir, resource.getrlimit(resource.RLIMIT_AS)
    with prepared_folder(), stopping():
        folder = Path.cwd().parents[2]
        Path("program.py").write_text("pass\n", encoding="utf-8")
        Path("model.py").write_text(MODEL, encoding="utf-8")
        (folder / "tmp").mkdir()
        tempfile.tempdir = str(folder / "tmp")
        for name, base in BASE.items():  # loads what is loaded once: no alarm may hit that
            ended([name, *base], folder, seconds=0)
        gc.freeze()  # what is loaded once is not looked through again and again
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, usual[1][1]))
        try:
            yield folder
        finally:
            gc.unfreeze()
            resource.setrlimit(resource.RLIMIT_AS, usual[1])
            tempfile.tempdir = usual[0]


def _late(*_: Any) -> None:
    raise Late


def tried(
    seed: int, numbers: Sequence[int], minutes: float = math.inf
) -> Iterator[dict[str, Counter[str]]]:
    """Try inputs; print what breaks, and yield what came of them, some thousand at a time."""
    end = time.monotonic() + 60 * minutes
    usual = signal.signal(signal.SIGPROF, _late)
    try:
        with workshop() as folder:
            for first in range(0, len(numbers), AT_ONCE):
                if time.monotonic() > end:
                    break
                yield _tried(seed, numbers[first : first + AT_ONCE], folder)
    finally:
        signal.signal(signal.SIGPROF, usual)


def _tried(seed: int, numbers: Sequence[int], folder: Path) -> dict[str, Counter[str]]:
    found = {name: Counter[str]() for name in commands()}
    before = _files(folder)
    for number in numbers:
        name, arguments = one_input(seed, number)
        ending = ended(arguments, folder, before=before)
        found[name][str(ending.code)] += 1
        if broken(name, ending):
            found[name]["broken"] += 1
            _show(number, arguments, ending)
    return found


def _show(number: int, arguments: Sequence[str], ending: Ending) -> None:
    shown = [a if len(a) < 60 else f"{a[:20]}…" for a in arguments]
    print(
        f"{number}: {shown!a}\n    {ending.code}: {ending.err[:300]!a} {sorted(ending.left)!a}",
        flush=True,
    )


def total_of(found: dict[str, Counter[str]]) -> int:
    """Return how many inputs were tried."""
    return sum(counts.total() - counts["broken"] for counts in found.values())


def report(found: dict[str, Counter[str]]) -> None:
    """Print what came of all inputs, by command and together."""
    for name, counts in found.items():
        own = total_of({name: counts})
        ends = ", ".join(f"{n:,} × {code}" for code, n in counts.most_common() if code != "broken")
        print(f"{name}: {own:,} inputs ({ends})")
    every = sum(found.values(), Counter[str]())
    ends = f"{every['stopped']:,} came to their calculation, {every['2']:,} were refused"
    print(f"{total_of(found):,} inputs tried, {ends}, {every['late']:,} still at work after 2 s")
    print(f"{every['broken']:,} broken")


def read_tally(path: Path | None) -> dict[str, Counter[str]]:
    """Return what earlier runs counted, by command."""
    if path is None or not path.exists():
        return {}
    return {name: Counter(counts) for name, counts in json.loads(path.read_text("utf-8")).items()}


def _write(found: dict[str, Counter[str]], path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found), encoding="utf-8")
    new.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Try inputs, print what broke; return 1 if something did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=10_000, help="in all, earlier runs included")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of this run, at most")
    parser.add_argument("--tally", type=Path, help="go on from what this file counts, and keep it")
    chosen = parser.parse_args(argv)
    tally = None if chosen.tally is None else chosen.tally.resolve()  # it works elsewhere
    known = read_tally(tally)
    numbers = range(chosen.start + total_of(known), chosen.start + chosen.count)
    for found in tried(chosen.seed, numbers, chosen.minutes):
        for name, counts in found.items():
            known.setdefault(name, Counter()).update(counts)
        if tally is not None:
            _write(known, tally)
    report(known)
    return int(any(counts["broken"] for counts in known.values()))


if __name__ == "__main__":
    sys.exit(main())
