"""Peak resident memory of a whole `gradflow benchmark` with two workers; asked for: 1.5 GB.

Sums up the command's process and all its descendants, a few times a second. RSS counts pages
that processes share once for each of them, PSS counts each page once: it is what the command
takes from the machine.

    python benchmarks/memory.py                                  # three epochs of six activations
    python benchmarks/memory.py -- --epochs 1 --train-size 2000  # any options of the command
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from peers.machine import machine

PROC = Path("/proc")


def family(root: int) -> Iterator[int]:
    """Return a process and its descendants."""
    parents = {}
    for entry in PROC.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(entry.parent.name)] = int(fields[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    yield from found


def resident(process: int) -> tuple[int, int]:
    """Return a process's RSS and PSS in bytes; 0 if it has ended."""
    try:
        text = (PROC / str(process) / "smaps_rollup").read_text()
    except OSError:
        return 0, 0
    sizes = {
        line.split(":")[0]: 1024 * int(line.split()[1])
        for line in text.splitlines()
        if line.startswith(("Rss:", "Pss:"))
    }
    return sizes.get("Rss", 0), sizes.get("Pss", 0)


def peaks(command: list[str], every: float) -> tuple[int, int, int, float]:
    """Run a command; return its peak RSS and PSS in bytes, most processes at once, and seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    highest = (0, 0, 0)
    while process.poll() is None:
        sizes = [resident(member) for member in family(process.pid)]
        now = sum(rss for rss, _ in sizes), sum(pss for _, pss in sizes), len(sizes)
        highest = tuple(max(pair) for pair in zip(highest, now, strict=True))  # type: ignore[assignment]
        time.sleep(every)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return (*highest, time.perf_counter() - start)


def main() -> None:
    """Print both peaks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=float, default=0.2, help="seconds between two looks")
    parser.add_argument("options", nargs="*", help="of gradflow benchmark, after --")
    options = parser.parse_args()
    if not (PROC / "self" / "smaps_rollup").exists():
        raise SystemExit(
            "memory is read from /proc/PID/smaps_rollup, which is not here: Linux only"
        )
    command = [sys.executable, "-m", "gradflow", "benchmark", "--workers", "2", *options.options]
    rss, pss, processes, seconds = peaks(command, options.every)
    print(machine())
    print("gradflow benchmark " + " ".join(command[4:]))
    print(f"most processes at once: {processes}; {seconds:.0f} s")
    print(f"peak PSS, each page once:           {pss / 1e9:.2f} GB")
    print(f"peak RSS, shared pages repeatedly:  {rss / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
