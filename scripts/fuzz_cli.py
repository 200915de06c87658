"""Try every option of every command with values that nobody should type.

The options are read from the app itself, so that none goes untested. A run is broken if it ends
with anything but the contract's exit codes, shows a traceback, or says nothing of what was wrong:

    python scripts/fuzz_cli.py            # every value of every option
    python scripts/fuzz_cli.py --seed 1 --count 2000     # pairs of options, drawn at random
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import random
import signal
import sys
import tempfile
import time
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


class Late(BaseException):
    """A run that was given up: it took its arguments and works."""


def commands() -> dict[str, Any]:
    """Return the commands of the app by name."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


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


def run(arguments: Sequence[str], seconds: int = SECONDS) -> tuple[Any, str]:
    """Return how a command line ends, and what it prints to stderr."""
    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            app(list(arguments))
    except SystemExit as end:
        return end.code, err.getvalue()
    except Late:
        return "late", err.getvalue()
    except BaseException as error:  # whatever it is, it is what we look for
        return f"{type(error).__name__}: {error}", err.getvalue()
    finally:
        signal.alarm(0)
    return 0, err.getvalue()


def broken(command: str, code: Any, err: str) -> bool:
    """Return whether a run ended as none may; a watched program may end as it likes."""
    if code == "late" or (command == "watch" and isinstance(code, int) and code != 70):
        return False
    return code not in FINE or "Traceback" in err or (code == 2 and "error: " not in err)


def _late(*_: Any) -> None:
    raise Late


def main(argv: Sequence[str] | None = None) -> int:
    """Run all, print what broke, and return how many did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0, help="pairs per command, at random")
    parser.add_argument("--minutes", type=float, default=math.inf, help="in all, at most")
    chosen = parser.parse_args(argv)
    random_ = random.Random(chosen.seed)
    tried = failed = late = 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("images").mkdir()
        write_images(Path("images"))
        for name, command in commands().items():
            if chosen.only not in (None, name):
                continue
            drawn = (
                [pairs(command, random_) for _ in range(chosen.count)]
                if chosen.count
                else list(single(command))
            )
            Path("program.py").write_text("pass\n", encoding="utf-8")
            drawing = ["-o", "warm.png"] if has_figure(command) else []
            run([name, *BASE.get(name, []), *drawing], seconds=0)  # no alarm while libraries load
            for extra in drawn:
                if time.monotonic() - start > 60 * chosen.minutes:
                    break
                Path("program.py").write_text("pass\n", encoding="utf-8")
                arguments = line(name, command, extra)
                code, err = run(arguments)
                tried += 1
                late += code == "late"
                if broken(name, code, err):
                    failed += 1
                    shown = " ".join(a if len(a) < 60 else f"{a[:20]}…" for a in arguments)
                    print(f"{code}: {shown!r}\n    {err.strip()[:300]!r}", flush=True)
        os.chdir("/")
    print(f"{tried:,} inputs tried, {failed} broken, {late} still at work after {SECONDS} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
