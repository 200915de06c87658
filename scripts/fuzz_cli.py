"""Try every option of every command with values that nobody should type.

The options are read from the app itself, so that none goes untested. A run is broken if it ends
with anything but the contract's exit codes, shows a traceback, or says nothing of what was wrong.
A user's program may end as it likes, and what it raises is shown:

    python scripts/fuzz_cli.py            # every value of every option
    python scripts/fuzz_cli.py --seed 1 --count 2000     # pairs of options, drawn at random
    python scripts/fuzz_cli.py --seed 1 --count 1000000 --workers 16 --minutes 5

With several workers up to three options are drawn, with values that nobody should type, values that
are random text, and values that are meant; `--count` is of all commands together. Each gets as much
time as another, and a run that works for a second is given up.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import math
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from kill_runs import write_images

from gradflow.cli.app import app

#: What a command is given so that a run is short.
BASE: dict[str, list[str]] = {
    "activations": [],
    "eval": ["relu"],
    "plot": ["relu"],
    "chain": ["--slopes", "1"],
    "theory": ["tanh", "--depth", "3"],
    "diagnose": ["--depth", "2", "--width", "4", "--batch-size", "4", "--no-remedies"],
    "clip": ["--depth", "2", "--width", "4", "--batch-size", "4", "--steps", "1", "--task", "mlp"],
    "lr": ["--depth", "2", "--width", "4", "--batch-size", "4", "--steps", "4"],
    "sweep": ["--depths", "2", "--weight-variances", "1", "--widths", "4", "--batch-size", "4"],
    "width": ["--widths", "2,4", "--seeds", "1", "--steps", "1", "--batch-size", "4"],
    "benchmark": ["--data", "images", "--act", "relu", "--epochs", "1", "--workers", "1"],
    "watch": ["program.py"],
    "explain": ["dead"],
}
#: Commands without an entry above are given nothing.
_NUMBERS = "nan inf -inf -1 0 1 1_0 ３ 0x10 1e308 -1e308 1e-320 1e400 2147483648 1.5 1e30 1e9 1e-9"
_LISTS = ", 1,2,,3 1:2 :: 0:1:0 0:1e9:1e-9 relu,relu 64,relu"
_PATHS = ".. ../.. / /dev/null - out.png/x.json .json x.gif out.json out.csv"
_NAMES = "no-such-thing δ \x1b[31m '; %s [bold] relu sgd True cuda:99 mps mnist gru \udcff"
VALUES = [
    *("", " ", "a\nb", "x" * 5000, "1" + "0" * 30, "-1" + "0" * 30, "9" * 400),
    *f"{_NUMBERS} {_LISTS} {_PATHS} {_NAMES}".split(),
]
SECONDS = 5
FINE = {0, 1, 2, 130}
#: Commands that run a file as their user's program.
PROGRAMS = {"lr", "watch"}


class Late(BaseException):
    """A run that was given up: it took its arguments and works."""


@functools.cache
def group() -> Any:
    """Return the app as it is run; made once, it takes a command line in a millisecond."""
    return typer.main.get_command(app)


def commands() -> dict[str, Any]:
    """Return the commands of the app by name."""
    return dict(group().commands)


def single(command: Any) -> Iterator[list[str]]:
    """Yield arguments: each option with each value, each argument as well."""
    for parameter in command.params:
        for value in VALUES:
            if parameter.param_type_name == "argument":
                yield [value]
            elif getattr(parameter, "is_flag", False) or getattr(parameter, "is_bool_flag", False):
                yield [parameter.opts[0]]
                break
            else:
                yield [parameter.opts[0], value]


def pairs(command: Any, random_: random.Random) -> list[str]:
    """Return two options drawn at random, with a value each."""
    choices = list(single(command))
    return [text for picked in random_.choices(choices, k=2) for text in picked]


def has_figure(command: Any) -> bool:
    """Return whether a command can draw."""
    return any("--output" in parameter.opts for parameter in command.params)


def line(name: str, command: Any, extra: Sequence[str]) -> list[str]:
    """Return a command line; of an option that is given twice the parser takes the last."""
    options = {option for parameter in command.params for option in parameter.opts}
    base = BASE.get(name, [])
    return [name, *base, *extra] if extra[0] in options else [name, *extra, *base]


def run(arguments: Sequence[str], seconds: float = SECONDS) -> tuple[Any, str]:
    """Return how a command line ends, and what it prints to stderr."""
    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            group().main(list(arguments), "gradflow")
    except SystemExit as end:
        return end.code, err.getvalue()
    except Late:
        return "late", err.getvalue()
    except BaseException as error:  # whatever it is, it is what we look for
        return f"{type(error).__name__}: {error}", err.getvalue()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0, err.getvalue()


def broken(command: str, code: Any, err: str) -> bool:
    """Return whether a run ended as none may; a watched program may end as it likes."""
    if code == "late" or (command == "watch" and isinstance(code, int) and code != 70):
        return False
    if command in PROGRAMS and code == 1 and raised_by_a_program(err):
        return False
    return code not in FINE or "Traceback" in err or (code == 2 and "error: " not in err)


def raised_by_a_program(err: str) -> bool:
    """Return whether the last line of a traceback is in a file of the folder that is fuzzed in."""
    frames = re.findall(r'File "([^"]+)", line', err)
    return bool(frames) and Path(frames[-1]).resolve().parent == Path.cwd()


def _late(*_: Any) -> None:
    raise Late


#: What is meant: so that something is right beside what is not.
_MEANT = "1 2 3 0 0.5 0.1 1,2 0:1:0.5 relu tanh mlp sgd adam cpu float32 norm,agc json md"
#: Of random text. No slash: nothing is written outside the folder.
LETTERS = "0123456789.,:-+eEinfa_ ()[]{}=%*?#@!~'\"\\µ∞日\u202e\x00\x1b\n"


def drawn(command: Any, random_: random.Random) -> list[str]:
    """Return one to three options, or arguments, each with a value."""
    found: list[str] = []
    for parameter in random_.choices(command.params, k=random_.randint(1, 3)):
        value = _value(parameter, random_)
        if parameter.param_type_name == "argument":
            found = [value, *found]
        elif getattr(parameter, "is_flag", False):
            found.append(random_.choice([*parameter.opts, *parameter.secondary_opts]))
        elif random_.random() < 0.1:
            found.append(f"{parameter.opts[0]}={value}")
        else:
            found += [parameter.opts[0], value]
    return found


def _value(parameter: Any, random_: random.Random) -> str:
    kind = random_.random()
    if kind < 0.3:
        return random_.choice(VALUES)
    if kind < 0.5:
        return text(random_)
    return random_.choice(completed(parameter) or _MEANT.split())


def text(random_: random.Random) -> str:
    """Return a few letters that nobody should type."""
    return "".join(random_.choices(LETTERS, k=random_.randint(0, 8)))


@functools.cache
def completed(parameter: Any) -> list[str]:
    """Return what the shell offers for a parameter, and its default."""
    complete = getattr(parameter, "_custom_shell_complete", None)
    offered = [] if complete is None else [str(o.value) for o in complete(None, parameter, "")]
    return offered if parameter.default in (None, "") else [*offered, str(parameter.default)]


@contextlib.contextmanager
def prepared_folder() -> Iterator[None]:
    """Work in a folder with data and a program, three deep: `..` and `../..` are in it too."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, "a", "b", "c")
        folder.mkdir(parents=True)
        os.chdir(folder)
        Path("images").mkdir()
        write_images(Path("images"))
        try:
            yield
        finally:
            os.chdir(before)


def warm(name: str, command: Any) -> None:
    """Run a command as it is meant to be, without an alarm while libraries load."""
    drawing = ["-o", "warm.png"] if has_figure(command) else []
    _write_program()
    run([name, *BASE.get(name, []), *drawing], seconds=0)


def _write_program() -> None:
    Path("program.py").write_text("pass\n", encoding="utf-8")


def show(arguments: Sequence[str], code: Any, err: str) -> None:
    """Print what broke."""
    shown = " ".join(a if len(a) < 60 else f"{a[:20]}…" for a in arguments)
    print(f"{code}: {shown!r}\n    {err.strip()[:300]!r}", flush=True)


def tried_at_random(
    seed: str, count: int, minutes: float, only: str | None = None
) -> dict[str, Counter[str]]:
    """Try inputs drawn at random; return what came of them, by command."""
    random_, end = random.Random(seed), time.monotonic() + 60 * minutes
    known = {name: c for name, c in commands().items() if only in (None, name)}
    spent, found = dict.fromkeys(known, 0.0), {name: Counter[str]() for name in known}
    for _ in range(count):
        if time.monotonic() > end:
            break
        name = min(spent, key=spent.__getitem__)
        _write_program()
        arguments, start = line(name, known[name], drawn(known[name], random_)), time.monotonic()
        code, err = run(arguments, seconds=1)
        spent[name] += time.monotonic() - start
        found[name][str(code)] += 1
        if broken(name, code, err):
            found[name]["broken"] += 1
            show(arguments, code, err)
    return found


def side_by_side(chosen: argparse.Namespace) -> int:
    """Try inputs in several processes; print what came of them, and return how many broke."""
    with tempfile.TemporaryDirectory() as results:
        processes = {_started(chosen, number, Path(results)) for number in range(chosen.workers)}
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            while processes:
                processes.discard(os.wait()[0])
        finally:  # who ends this ends them, wherever they hang
            for process in processes:
                os.kill(process, signal.SIGKILL)
        total = {name: Counter[str]() for name in commands()}
        whole = list(Path(results).iterdir())
        for file in whole:
            for name, counts in json.loads(file.read_text("utf-8")).items():
                total[name].update(counts)
    for name, counts in total.items():
        ends = ", ".join(f"{n:,} × {code}" for code, n in counts.most_common() if code != "broken")
        print(f"{name}: {counts.total() - counts['broken']:,} inputs ({ends})")
    every = sum(total.values(), Counter[str]())
    lost = chosen.workers - len(whole)
    tried, failed = every.total() - every["broken"], every["broken"]
    print(f"{tried:,} inputs tried, {failed} broken, {every['late']} still at work after 1 s")
    if lost:
        print(f"{lost} of {chosen.workers} workers ended before they could say what they found")
    return failed + lost


def _started(chosen: argparse.Namespace, number: int, results: Path) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        share = -(-chosen.count // chosen.workers)
        with prepared_folder():
            for name, command in commands().items():
                if chosen.only in (None, name):
                    warm(name, command)
            found = tried_at_random(f"{chosen.seed} {number}", share, chosen.minutes, chosen.only)
        (results / str(number)).write_text(json.dumps(found), encoding="utf-8")
        code = 0
    finally:
        os._exit(code)


def one_by_one(chosen: argparse.Namespace) -> int:
    """Try every value of every option, or pairs; print what broke, and return how many did."""
    random_ = random.Random(chosen.seed)
    tried = failed = late = 0
    start = time.monotonic()
    with prepared_folder():
        for name, command in commands().items():
            if chosen.only not in (None, name):
                continue
            drawn_pairs = [pairs(command, random_) for _ in range(chosen.count)]
            warm(name, command)
            for extra in drawn_pairs or list(single(command)):
                if time.monotonic() - start > 60 * chosen.minutes:
                    break
                _write_program()
                arguments = line(name, command, extra)
                code, err = run(arguments)
                tried += 1
                late += code == "late"
                if broken(name, code, err):
                    failed += 1
                    show(arguments, code, err)
    print(f"{tried:,} inputs tried, {failed} broken, {late} still at work after {SECONDS} s")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """Run all, print what broke; return 1 if something did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0, help="drawn at random, per command")
    parser.add_argument("--minutes", type=float, default=math.inf, help="in all, at most")
    parser.add_argument(
        "--workers", type=int, default=0, help="side by side; --count is then of all"
    )
    chosen = parser.parse_args(argv)
    failed = side_by_side(chosen) if chosen.workers else one_by_one(chosen)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
