"""The article's Keras network against gradflow's: the same data, the same accuracy?

Trains both with every activation and several seeds, and compares test accuracies by their means
and 95 % intervals (Student's t over seeds). Keras' rows are kept in a file as they come, and what
is there already is not trained again.

    python benchmarks/parity.py                          # both sides: an hour and more
    python benchmarks/parity.py --ours benchmark.json    # gradflow's side from a stored result
    python benchmarks/parity.py --keras-only --processes 2
    python benchmarks/parity.py --quick                  # 1,280 images, 1 epoch, 2 seeds
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from peers.environments import DEFAULT_CACHE, environment
from peers.machine import machine
from peers.protocol import Child
from scipy import stats

from gradflow.configs.benchmark import BenchmarkConfig

ACTS = ["sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu"]
STORE = Path(__file__).parent / "results" / "parity-keras.jsonl"
Row = dict[str, Any]


def stored(store: Path, train_size: int) -> list[Row]:
    """Return Keras' rows for so many training images."""
    lines = store.read_text().splitlines() if store.exists() else []
    return [row for row in map(json.loads, lines) if row["train_size"] == train_size]


def missing(rows: list[Row], options: argparse.Namespace) -> list[tuple[str, int]]:
    """Return activations and seeds that have not been trained for all epochs; by seed."""
    have = {(row["activation"], row["seed"], row["epoch"]) for row in rows}
    wanted = [(act, seed) for seed in range(options.seeds) for act in options.act]
    return [(act, seed) for act, seed in wanted if (act, seed, options.epochs) not in have]


def train_keras(options: argparse.Namespace, tasks: list[tuple[str, int]]) -> None:
    """Train what is missing, on processes side by side; append rows to the store."""
    python, waiting, lock = environment("keras", options.cache), Queue[Any](), threading.Lock()
    env = {"GRADFLOW_THREADS": "1"} if options.processes > 1 else {}
    for task in tasks:
        waiting.put(task)

    def work() -> None:
        child = Child("keras_training.py", python, env).ready()
        try:
            while True:
                act, seed = waiting.get_nowait()
                answer = child.ask(
                    act=act, seed=seed, epochs=options.epochs, train_size=options.train_size
                )
                with lock:
                    keep(options, answer["rows"], child.versions)
        except Empty:
            child.close()

    threads = [threading.Thread(target=work) for _ in range(options.processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def keep(options: argparse.Namespace, rows: list[Row], versions: Row) -> None:
    """Append a run's rows to the store, and say how it went."""
    options.store.parent.mkdir(parents=True, exist_ok=True)
    extra = {"train_size": options.train_size, "threads": options.processes, **versions}
    extra["threads"] = 1 if options.processes > 1 else None
    with options.store.open("a") as file:
        file.writelines(json.dumps({**row, **extra}) + "\n" for row in rows)
    last = rows[-1]
    seconds = sum(row["seconds"] for row in rows)
    print(
        f"Keras, {last['activation']}, seed {last['seed']}: test accuracy "
        f"{last['test_accuracy']:.4f} after {seconds:.0f} s of training",
        file=sys.stderr,
        flush=True,
    )


def train_ours(options: argparse.Namespace) -> list[Row]:
    """Return the history of `gradflow benchmark` with the same settings."""
    command = [sys.executable, "-m", "gradflow", "benchmark", "--json"]
    command += ["--epochs", str(options.epochs), "--seeds", str(options.seeds)]
    command += ["--train-size", str(options.train_size)]
    if "validation_size" in {field.name for field in dataclasses.fields(BenchmarkConfig)}:
        command += ["--validation-size", "0"]  # Keras trains on these images as well
    for act in options.act:
        command += ["--act", act]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    history: list[Row] = json.loads(done.stdout)["history"]
    return history


def read_ours(path: Path, options: argparse.Namespace) -> list[Row]:
    """Return the history of a stored result, which must have as many training images."""
    document = json.loads(path.read_text())
    size = document.get("train_size", options.train_size)
    if size != options.train_size:
        raise SystemExit(
            f"{path} was trained on {size} images: add --train-size {size}, so that Keras is, too"
        )
    history: list[Row] = document["history"]
    return history


def accuracies(rows: list[Row], act: str, epoch: int, seeds: int) -> list[float]:
    """Return test accuracies in percent, by seed."""
    found = {
        row["seed"]: 100 * row["test_accuracy"]
        for row in rows
        if (row["activation"], row["epoch"]) == (act, epoch) and row["seed"] < seeds
    }
    return [found[seed] for seed in sorted(found)]


def half_width(values: list[float]) -> float:
    """Return half of the 95 % interval of the mean."""
    if len(values) < 2:
        return math.nan
    error = statistics.stdev(values) / math.sqrt(len(values))
    return float(stats.t.ppf(0.975, len(values) - 1)) * error


def report(theirs: list[Row], ours: list[Row], options: argparse.Namespace) -> Iterator[str]:
    """Return a table per epoch, line by line."""
    for epoch in range(1, options.epochs + 1):
        yield f"epoch {epoch}: test accuracy in %, mean ± 95 % interval over seeds"
        yield f"{'activation':<12}{'Keras':>18}{'gradflow':>18}{'difference':>12}{'p':>8}  parity"
        for act in options.act:
            pair = [accuracies(rows, act, epoch, options.seeds) for rows in (theirs, ours)]
            if all(pair):
                yield line(act, *pair)
        yield ""


def line(act: str, keras: list[float], ours: list[float]) -> str:
    """Return a row: parity is both means within the other's interval; p is Welch's."""
    means = [statistics.mean(values) for values in (keras, ours)]
    widths = [half_width(values) for values in (keras, ours)]
    cells = [f"{mean:.2f} ± {width:.2f}" for mean, width in zip(means, widths, strict=True)]
    apart = means[1] - means[0]
    p = float(stats.ttest_ind(keras, ours, equal_var=False).pvalue) if len(keras) > 1 else math.nan
    within = [abs(apart) <= width for width in widths]
    word = {2: "yes", 1: "one way", 0: "no"}[sum(within)]
    return f"{act:<12}{cells[0]:>18}{cells[1]:>18}{apart:>+12.2f}{p:>8.3f}  {word}"


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--act", nargs="+", default=ACTS, choices=ACTS)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train-size", type=int, default=60_000, help="the first so many images")
    parser.add_argument("--processes", type=int, default=1, help="of Keras, 1 thread each if more")
    parser.add_argument("--ours", type=Path, help="a result of gradflow benchmark -o FILE.json")
    parser.add_argument(
        "--keras-only", action="store_true", help="train Keras' side, compare later"
    )
    parser.add_argument("--store", type=Path, default=STORE, help="of Keras' rows")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="for the environment")
    parser.add_argument("--quick", action="store_true", help="1,280 images, 1 epoch, 2 seeds")
    options = parser.parse_args()
    if options.quick:
        options.train_size, options.epochs, options.seeds = 1280, 1, 2
    return options


def main() -> None:
    """Train what is missing and print the tables."""
    options = arguments()
    ours = read_ours(options.ours, options) if options.ours else None
    if tasks := missing(stored(options.store, options.train_size), options):
        train_keras(options, tasks)
    if options.keras_only:
        return
    ours = train_ours(options) if ours is None else ours
    theirs = stored(options.store, options.train_size)
    print(machine())
    print(
        f"keras {theirs[0]['keras']}, tensorflow {theirs[0]['tensorflow']}; "
        f"{options.train_size:,} training images, {options.seeds} seeds"
    )
    for text in report(theirs, ours, options):
        print(text)


if __name__ == "__main__":
    main()
