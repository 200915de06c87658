"""Print commands of all kinds as JSON into a folder, or compare two such folders but for times.

What a change that is to change no number runs before and after itself:

    python scripts/compare_commands.py print BEFORE    # at the old commit
    python scripts/compare_commands.py print AFTER     # at the new one
    python scripts/compare_commands.py compare BEFORE AFTER
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SMALL = "--depth 3 --width 8 --batch-size 4"
MODEL = f"--model {Path(__file__).parents[1] / 'docs' / 'examples' / 'networks.py'}"
COMMANDS = (
    "activations",
    "eval gelu --at -3:3:0.5",
    "eval leaky-relu --alpha 0.1 --at -1 --at 2",
    "plot sigmoid relu gelu -o OUT.png",
    "chain --weights 100,100 --act sigmoid --pre-activations 0,0,0 --bias 0.1",
    "chain --weights 0.5,2,3 --slopes 0.1,0.2,1,0.5",
    "theory tanh --depth 20",
    "theory relu --weight-variance 2 --depth 5",
    "theory selu --bias-variance 0.1 --depth 8",
    "diagnose --depth 10 --act sigmoid",
    "diagnose --depth 10 --act relu --init he-normal --width 128 --seeds 4 --no-remedies",
    "diagnose --gain 5 --act elu --init he-normal --no-remedies",
    "diagnose --gain 10 --depth 120 --act tanh --no-remedies",
    "diagnose --bias-mean -10 --act relu --no-remedies",
    "diagnose --act selu --init lecun-normal --data mnist --no-remedies",
    "diagnose --arch cnn --depth 4 --width 8 --act gelu --no-remedies",
    "diagnose --arch resmlp --depth 6 --norm batch",
    "diagnose --arch transformer --depth 3 --width 16 --no-remedies",
    "diagnose --arch rnn --depth 30 --spectral-radius 1.5 --no-remedies",
    "diagnose --arch lstm --depth 30 --seeds 2 --no-remedies",
    "diagnose --arch gru --depth 30 --no-remedies",
    "diagnose --arch gru --depth 12 --dtype float16 --no-remedies",
    "diagnose --dtype float16 --loss-scale 1e-6 --no-remedies",
    "diagnose --loss mse --norm layer --residual --no-remedies",
    f"diagnose {MODEL}:healthy --input-shape 64 --seeds 2",
    f"diagnose {MODEL}:vanishing --input-shape 64",
    f"clip {SMALL} --steps 5",
    "clip --task deep-mlp --steps 6 --policy norm:0.5 --policy agc --policy autoclip",
    "clip --arch rnn --task adding --sequence-length 12 --steps 6 --width 8 --seeds 2",
    "clip --arch gru --task copy --sequence-length 14 --steps 4 --width 8",
    "clip --arch lstm --task mnist-rows --steps 10 --width 8 --seeds 1 --suggest",
    "benchmark --act relu --act sigmoid --train-size 600 --epochs 2 --device cpu --workers 1",
    "benchmark --act elu --train-size 400 --epochs 1 --lr 1e-3,1e-4 --device cpu --workers 2",
)
#: Fields that hold times, and what is made of them.
TIMES = ("seconds", "images_per_second", "aggregate_images_per_second", "train_seconds", "version")


def printed(command: str, folder: Path) -> str:
    """Return the JSON that a command prints."""
    words = shlex.split(command.replace("OUT", str(folder / "out")))
    done = subprocess.run(
        [sys.executable, "-m", "gradflow", *words, "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout or json.dumps({"exit": done.returncode, "error": done.stderr})


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the places in which two documents differ, but for times."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in (*one, *(k for k in other if k not in one)):
            if key not in TIMES:
                yield from differences(one.get(key), other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif one != other and (one, other) != (float("nan"),) * 2:
        yield f"{path}: {one!r} → {other!r}"


def write(folder: Path) -> None:
    """Write what every command prints."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, command in enumerate(COMMANDS, start=1):
        (folder / f"{index:02}.json").write_text(printed(command, folder), encoding="utf-8")
        print(f"{index:2}/{len(COMMANDS)}  {command}", flush=True)


def compare(before: Path, after: Path) -> int:
    """Print what differs; return the number of commands that do."""
    unequal = 0
    for index, command in enumerate(COMMANDS, start=1):
        texts = ((f / f"{index:02}.json").read_text(encoding="utf-8") for f in (before, after))
        found = list(differences(*map(json.loads, texts)))
        unequal += bool(found)
        print(f"{'differs' if found else 'equal  '}  {command}")
        print("".join(f"           {line}\n" for line in found[:6]), end="")
    print(f"{len(COMMANDS) - unequal} of {len(COMMANDS)} equal")
    return unequal


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[2:]]
    if sys.argv[1] == "print":
        write(*folders)
    else:
        sys.exit(compare(*folders) > 0)
