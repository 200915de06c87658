"""Which networks of twelve families learn? The truth for verdicts beyond stacks of dense layers.

Draws networks at random, trains each with Adam and with SGD (momentum 0.9) at every rate of a
grid, and writes what each came to as a line of JSON. A network *learns* where some rate takes the
loss to 0.6 of the best constant prediction's (a flow: one nat below a Gaussian's). Recurrent
networks and regressors get three times the steps: what the ones have to remember lies far back, and
a shallow tanh network comes below 0.6 of the others' task after some 400 steps.

    python benchmarks/calibration_families.py --count 28 --seed 1 --out FILE.jsonl [--jobs 2]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from families.networks import FAMILIES, Drawn
from families.others import draw_any
from torch import Tensor, nn

RATES = {
    "adam": (1e-4, 1e-3, 1e-2),
    "sgd": (1e-3, 1e-2, 1e-1, 1.0),
}
BATCH, CHECK = 32, 512
#: Families whose tasks take three times the steps, for healthy networks as well.
LONG = ("recurrent", "regressor", "cells", "friedman")


def optimizer(kind: str, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return Adam, or SGD with momentum 0.9."""
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate)
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


@dataclass(frozen=True)
class Job:
    """A network to draw and train."""

    family: str
    seed: int
    steps: int
    harsh: bool = False
    quick: bool = False

    def drawn(self) -> Drawn:
        """Draw it."""
        return draw_any(self.family, self.seed, self.harsh)


def trained(job: Job, kind: str, rate: float, until: float = -math.inf) -> list[float]:
    """Return the loss on fresh examples before, after a tenth of the steps, half, and all.

    It ends where that is below `until`.
    """
    drawn, steps = job.drawn(), job.steps
    update = optimizer(kind, drawn.model, rate)
    generator = torch.Generator().manual_seed(job.seed)
    marks, found = {steps // 10, steps // 2, steps}, [checked(drawn)]
    for step in range(1, steps + 1):
        if not stepped(drawn, update, generator):
            return [*found, math.inf]
        if step in marks:
            found.append(checked(drawn))
            if found[-1] < until:
                break
    return found


def quickly(job: Job, kind: str, limit: float) -> dict[str, list[float]]:
    """Train at one rate after the other, the middle one first, until one has learnt."""
    runs: dict[str, list[float]] = {}
    middle = sum(map(math.log, RATES[kind])) / len(RATES[kind])
    for rate in sorted(RATES[kind], key=lambda rate: abs(math.log(rate) - middle)):
        runs[str(rate)] = trained(job, kind, rate, limit)
        if runs[str(rate)][-1] < limit:
            break
    return runs


def stepped(drawn: Drawn, update: torch.optim.Optimizer, generator: torch.Generator) -> bool:
    """Take a training step on fresh examples; return False where their loss is no number."""
    loss = loss_of(drawn, *drawn.task.batch(BATCH, generator))
    if not math.isfinite(loss.item()):
        return False
    update.zero_grad()
    loss.backward()
    update.step()
    return True


def loss_of(drawn: Drawn, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of one batch."""
    return drawn.task.loss(drawn.model(inputs), targets)


def checked(drawn: Drawn) -> float:
    """Return the loss of examples that no step sees, infinite where it is no number."""
    generator = torch.Generator().manual_seed(12345)
    with torch.no_grad():
        loss = loss_of(drawn, *drawn.task.batch(CHECK, generator)).item()
    return loss if math.isfinite(loss) else math.inf


def bound(drawn: Drawn, family: str) -> float:
    """Return the loss from which on a network has learnt."""
    constant = drawn.task.constant
    return constant - 1.0 if family == "flow" else 0.6 * constant


def record(job: Job) -> dict[str, Any]:
    """Draw one network and train it at every rate."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # nothing is measured here
    start, drawn = time.perf_counter(), job.drawn()
    limit = bound(drawn, job.family)
    runs = {
        kind: quickly(job, kind, limit)
        if job.quick
        else {str(rate): trained(job, kind, rate) for rate in rates}
        for kind, rates in RATES.items()
    }
    best = {kind: min(run[-1] for run in of.values()) for kind, of in runs.items()}
    return {
        **asdict(job),
        "options": drawn.options,
        "constant": drawn.task.constant,
        "bound": limit,
        "runs": {k: {r: [_plain(x) for x in xs] for r, xs in of.items()} for k, of in runs.items()},
        "learns": {kind: loss < limit for kind, loss in best.items()},
        "seconds": time.perf_counter() - start,
    }


def _plain(loss: float) -> float | None:
    return round(loss, 6) if math.isfinite(loss) else None


def outcomes(path: Path) -> list[dict[str, Any]]:
    """Return what came of networks; of one that was trained again, more steps, the last."""
    found = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return list({(record["family"], record["seed"]): record for record in found}.values())


def jobs(given: argparse.Namespace) -> Iterator[Job]:
    """Every network to train: the seeds of a half do not meet those of another."""
    for index in range(given.count):
        for family in given.families.split(","):
            steps = 3 * given.steps if family in LONG else given.steps
            yield Job(family, 10_000 * given.seed + index, steps, given.harsh, given.quick)


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--count", type=int, default=14, help="networks of each family")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--harsh", action="store_true", help="deep and badly initialised ones more often"
    )
    parser.add_argument("--quick", action="store_true", help="no rate after one that learns")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    todo = list(jobs(given))
    with given.out.open("w", encoding="utf-8") as out, ProcessPoolExecutor(given.jobs) as pool:
        running = [pool.submit(record, job) for job in todo]
        for number, done in enumerate(as_completed(running), start=1):
            found = done.result()
            out.write(json.dumps(found) + "\n")
            out.flush()
            learns = [k for k, v in found["learns"].items() if v]
            print(
                f"{number}/{len(todo)} {found['family']} {found['seed']}: learns with "
                f"{', '.join(learns) or 'neither'} ({found['seconds']:.1f} s)",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    main()
