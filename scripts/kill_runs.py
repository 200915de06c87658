"""Kill a benchmark at random moments, resume it, and compare it with one that was left alone.

Each time a run with a folder is ended by SIGKILL, at a moment drawn at random from its whole
length, and then resumed. Every stored number but the times, and every bit of weights, optimisers
and random states has to be that of the run that nobody killed:

    python scripts/kill_runs.py --count 50
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradflow.benchmarking.run import benchmark as run
from gradflow.configs.benchmark import BenchmarkConfig

_OPTIONS = {"act": ("relu", "elu"), "epochs": 3, "batch_size": 16, "device": "cpu"}
_SIZE, _CLASSES = 8, 3


def write_images(folder: Path) -> None:
    """Write a small data set of stripes in noise, as IDX files."""
    drawn = np.random.default_rng(0)
    for part, count in (("train", 160), ("t10k", 64)):
        labels = np.arange(count, dtype=np.uint8) % _CLASSES
        images = drawn.integers(0, 128, (count, _SIZE, _SIZE), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 3] += 100
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(content)


def start(config: BenchmarkConfig, log: Path) -> int:
    """Run a benchmark in a process of its own; return its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        with log.open("w", encoding="utf-8") as file, contextlib.redirect_stderr(file):
            try:
                run(config)
                code = 0
            except Exception:
                traceback.print_exc()
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """Wait for a process; return what it ended with."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def state(folder: Path) -> dict[str, Any]:
    """Return all that a run folder holds but times, and the number that every run draws."""
    lines = {
        name: sorted(
            json.dumps({**json.loads(line), "run": "", "seconds": 0}, sort_keys=True)
            for line in (folder / name).read_text(encoding="utf-8").splitlines()
        )
        for name in ("history.jsonl", "flow.jsonl")
    }
    stored = {
        file.name: torch.load(file, weights_only=True)
        for file in sorted((folder / "checkpoints").glob("*.pt"))
    }
    bits = {
        name: [_bits(one[part]) for part in ("model", "optimizer", "random")]
        for name, one in stored.items()
    }
    return {**lines, "checkpoints": bits, "files": sorted(path.name for path in folder.iterdir())}


def _bits(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: _bits(one) for key, one in value.items()}
    return [_bits(one) for one in value] if isinstance(value, list | tuple) else value


def survives(moment: float, config: BenchmarkConfig, whole: dict[str, Any]) -> bool:
    """Return whether a run killed at this moment, in seconds, is resumed to the same bits."""
    folder = Path(str(config.output_dir))
    log, written = folder.with_suffix(".log"), folder / "history.jsonl"
    process = start(config, log)
    time.sleep(moment)
    os.kill(process, signal.SIGKILL)
    ended(process)
    done = len(written.read_bytes().splitlines()) if written.exists() else 0
    code = ended(start(dataclasses.replace(config, resume=True), log))
    same = code == 0 and state(folder) == whole
    if not same:
        print(f"killed after {moment:.3f} s with {done} epochs written: code {code}")
        print(log.read_text(encoding="utf-8"))
    return same


def main(argv: Sequence[str] | None = None) -> int:
    """Kill and resume; print how many came to the same bits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args(argv)
    drawn = random.Random(chosen.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "images").mkdir()
        write_images(root / "images")

        def config(folder: str) -> BenchmarkConfig:
            given = {"data": str(root / "images"), "workers": chosen.workers, **_OPTIONS}
            return BenchmarkConfig(**given, output_dir=str(root / folder))

        run(config("warm"))  # all that is loaded is loaded once, here
        begun = time.perf_counter()
        if ended(start(config("whole"), root / "log")):
            print((root / "log").read_text(encoding="utf-8"))
            return 1
        length = time.perf_counter() - begun
        whole = state(root / "whole")
        moments = [drawn.uniform(0, length) for _ in range(chosen.count)]
        same = sum(survives(at, config(f"run{n}"), whole) for n, at in enumerate(moments))
    print(f"{same} of {chosen.count} killed runs resumed to the same bits ({length:.1f} s each)")
    return int(same < chosen.count)


if __name__ == "__main__":
    sys.exit(main())
