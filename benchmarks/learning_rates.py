"""A learning rate, by gradflow and by others: how far is training from the best of a grid?

Takes networks of all families that some rate trains (benchmarks/results/families.jsonl), asks every
method for a rate, trains at it (`calibration_families.trained`: the same steps, batches and seeds
as the grid's), and writes a line for each. Constants of gradflow were chosen on networks of even
seeds; the odd ones judge.

    python benchmarks/learning_rates.py --out FILE.jsonl              # goes on where it stopped
    python benchmarks/learning_rates.py --nearest --out FILE.jsonl    # trains where it has to
    python benchmarks/learning_rates.py --table FILE.jsonl [--common]
    python benchmarks/learning_rates.py --alarms                      # of the rate in use
    python benchmarks/learning_rates.py --grid                        # more rates for the grid

torch-lr-finder and Lightning run in an environment of their own, which is made at the first call
(`peers.environments`).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.util
import io
import itertools
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from calibration_families import BATCH, RATES, Job, optimizer, trained
from families.networks import Drawn, draw
from matplotlib.figure import Figure
from peers.environments import DEFAULT_CACHE, environment
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import gradflow
from gradflow.diagnosis.checks.first_rate import suggested
from gradflow.results.diagnosis import RateInUse

GRID = Path(__file__).parent / "results" / "families.jsonl"
DRAW, EACH = 1, 3  # which of its draws, and networks of a family and a half
#: Rates beside those of `GRID`, and what training at them came to.
FINER = {"adam": (1e-1, 3e-3, 3e-2)}
FINE = GRID.with_name("learning-rates-grid.jsonl")
#: A rate, if the method found one, and the forward and backward passes that it took.
Suggestion = tuple[float | None, int]


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """The batches that a network is trained on, one after the other."""

    def __init__(self, drawn: Drawn, seed: int) -> None:
        self.drawn, self.seed = drawn, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield self.drawn.task.batch(BATCH, generator)


def by_gradflow(drawn: Drawn, kind: str, seed: int) -> Suggestion:
    """Ask `gradflow.learning_rate`, with the first batch alone."""
    inputs, targets = next(iter(Batches(drawn, seed)))
    found = gradflow.learning_rate(
        drawn.model,
        inputs,
        targets,
        loss=drawn.task.loss,
        optimizer=optimizer(kind, drawn.model, 1e-3),
    )
    return found.suggested, found.passes


def by_torch_lr_finder(drawn: Drawn, kind: str, seed: int) -> Suggestion:
    """Ask torch-lr-finder, called as its README has it: from 1e-7 to 100 in 100 steps."""
    from torch_lr_finder import LRFinder  # noqa: PLC0415

    update = optimizer(kind, drawn.model, 1e-7)
    finder = LRFinder(drawn.model, update, drawn.task.loss, device="cpu")
    loader = DataLoader(Batches(drawn, seed), batch_size=None)
    finder.range_test(loader, end_lr=100, num_iter=100)
    passes = len(finder.history["lr"])
    try:
        _, rate = finder.plot(ax=Figure().subplots())
    except RuntimeError:  # too few steps before the loss diverged
        return None, passes
    return float(rate), passes


def by_lightning(drawn: Drawn, kind: str, seed: int) -> Suggestion:
    """Ask Lightning's `Tuner.lr_find`, with its defaults."""
    import lightning.pytorch as pl  # noqa: PLC0415
    from lightning.pytorch.tuner import Tuner  # noqa: PLC0415

    class Wrapped(pl.LightningModule):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.lr = drawn.model, 1e-3

        def training_step(self, data: Any, _: int) -> Tensor:
            return drawn.task.loss(self.inner(data[0]), data[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer(kind, self.inner, self.lr)

    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=folder,
        )
        loader = DataLoader(Batches(drawn, seed), batch_size=None)
        finder = Tuner(trainer).lr_find(Wrapped(), loader, update_attr=False)
    assert finder is not None
    return finder.suggestion(), len(finder.results["lr"])


METHODS: dict[str, Callable[[Drawn, str, int], Suggestion]] = {
    "gradflow lr": by_gradflow,
    "torch-lr-finder": by_torch_lr_finder,
    "Lightning lr_find": by_lightning,
}


def chosen(kind: str, parity: int, each: int = EACH) -> list[dict[str, Any]]:
    """Return the first networks of every family and half that some rate of the grid trains."""
    rows = {(r["family"], r["seed"]): r for r in reversed(read(GRID))}  # as first trained
    found = collections.defaultdict[str, list[dict[str, Any]]](list)
    finer = collections.defaultdict[tuple[str, int], dict[str, Any]](dict)
    for line in read(FINE):
        if line["optimizer"] == kind:
            finer[line["family"], line["seed"]][str(line["rate"])] = line["losses"]
    drawn = (row for row in rows.values() if row["seed"] // 10_000 == DRAW)
    for row in sorted(drawn, key=lambda row: int(row["seed"])):
        of_family = found[row["family"]]
        if row["learns"][kind] and row["seed"] % 2 == parity and len(of_family) < each:
            row["runs"][kind] |= finer[row["family"], row["seed"]]
            of_family.append(row)
    return [of[i] for i in range(each) for of in found.values() if i < len(of)]


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, none where there is no file yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def refine(path: Path) -> None:
    """Train the networks of both halves at the rates of `FINER`; go on where it stopped."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    key = ("family", "seed", "optimizer", "rate")
    done = {tuple(line[name] for name in key) for line in read(path)}
    with path.open("a", encoding="utf-8") as out:
        for kind, rates in FINER.items():
            for rate, row in itertools.product(rates, [*chosen(kind, 0), *chosen(kind, 1)]):
                found = dict(zip(key, (row["family"], row["seed"], kind, rate), strict=True))
                if tuple(found.values()) not in done:
                    run = trained(Job(row["family"], row["seed"], row["steps"]), kind, rate)
                    found["losses"] = [round(x, 6) if math.isfinite(x) else None for x in run]
                    out.write(json.dumps(found) + "\n")
                    out.flush()


def suggestion(row: dict[str, Any], kind: str, method: str) -> Suggestion:
    """Ask one method for the rate of one network."""
    drawn = draw(row["family"], row["seed"])
    torch.manual_seed(row["seed"])
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return METHODS[method](drawn, kind, row["seed"])


def record(row: dict[str, Any], kind: str, method: str, nearest: bool = False) -> dict[str, Any]:
    """Ask one method for a rate, and train at it; see `final_loss`."""
    rate, passes = suggestion(row, kind, method)
    rate = rate if rate is not None and math.isfinite(rate) else None
    loss = math.inf if rate is None else final_loss(row, kind, rate, nearest)
    return {
        "family": row["family"],
        "seed": row["seed"],
        "optimizer": kind,
        "method": method,
        "rate": rate,
        "passes": passes,
        "loss": loss if math.isfinite(loss) else None,
    }


def final_loss(row: dict[str, Any], kind: str, rate: float, nearest: bool) -> float:
    """Return what training at `rate` comes to.

    Below the smallest rate of the grid, at which more is learnt, that run is taken.

    Parameters
    ----------
    nearest
        Take the run of the grid's nearest rate instead, where there is one within a factor of √10.
    """
    known = {float(one): last(run) for one, run in row["runs"][kind].items()}
    close = min(known, key=lambda one: abs(math.log10(one / rate)))
    if rate < min(known) or (nearest and abs(math.log10(close / rate)) <= 0.5):
        return known[close]
    return trained(Job(row["family"], row["seed"], row["steps"]), kind, rate)[-1]


def last(losses: list[float | None]) -> float:
    """Return a run's final loss, infinite where it diverged."""
    return math.inf if losses[-1] is None else losses[-1]


def regret(row: dict[str, Any], kind: str, loss: float) -> float:
    """Return (loss − best)/(constant − best), between 0 and 1.

    `best` is the lowest final loss of the grid, `constant` that of the best prediction that
    does not look at the inputs.
    """
    best = min(last(losses) for losses in row["runs"][kind].values())
    return min(1.0, max(0.0, (loss - best) / (row["constant"] - best)))


def constants(kind: str) -> Iterator[str]:
    """Yield the rates of the grid at which all networks were trained."""
    yield from map(str, sorted({*RATES[kind], *FINER.get(kind, ())}))


def best_constant(kind: str) -> str:
    """Return the rate of the grid with the least regret on the half that chooses."""
    rows = chosen(kind, 0)

    def mean(rate: str) -> float:
        return sum(regret(row, kind, last(row["runs"][kind][rate])) for row in rows) / len(rows)

    return min(constants(kind), key=mean)


def table(lines: list[dict[str, Any]], parity: int, common: bool) -> Iterator[str]:
    """Yield the table: a line per optimizer and method.

    Parameters
    ----------
    common
        Only networks for which every method was asked.
    """
    yield "| optimizer | method | networks | mean regret | failures | no rate | passes |"
    yield "|---|---|---|---|---|---|---|"
    for kind in RATES:
        rows = {(row["family"], row["seed"]): row for row in chosen(kind, parity)}
        asked = collections.Counter(
            (r["family"], r["seed"]) for r in lines if r["optimizer"] == kind
        )
        if common:
            rows = {key: row for key, row in rows.items() if asked[key] == len(METHODS)}
        best = best_constant(kind)
        fixed = {key: last(row["runs"][kind][best]) for key, row in rows.items()}
        for constant in constants(kind):
            own = {key: last(row["runs"][kind][constant]) for key, row in rows.items()}
            said = "the best for all" if constant == best else "for all"
            yield _line(kind, f"{float(constant):g} {said}", rows, own, 0, "0")
        for method in METHODS:
            asked_of = [r for r in lines if r["optimizer"] == kind and r["method"] == method]
            asked_of = [r for r in asked_of if (r["family"], r["seed"]) in rows]
            without = sum(r["rate"] is None for r in asked_of)
            losses = {
                (r["family"], r["seed"]): _loss(r, fixed[r["family"], r["seed"]]) for r in asked_of
            }
            passes = sorted(r["passes"] for r in asked_of)
            said = f"{passes[0]} to {passes[-1]}" if passes else "–"
            if passes and passes[0] == passes[-1]:
                said = str(passes[0])
            yield _line(kind, method, rows, losses, without, said)


def _loss(line: dict[str, Any], constant: float) -> float:
    """What training came to; where no rate was found, at the best constant."""
    if line["rate"] is None:
        return constant
    return math.inf if line["loss"] is None else float(line["loss"])


def _line(
    kind: str,
    method: str,
    rows: dict[tuple[str, int], dict[str, Any]],
    losses: dict[tuple[str, int], float],
    without: int,
    passes: str,
) -> str:
    number = len(losses)
    mean = sum(regret(rows[key], kind, loss) for key, loss in losses.items()) / max(number, 1)
    failed = sum(not loss < rows[key]["bound"] for key, loss in losses.items())
    return f"| {kind} | {method} | {number} | {mean:.3f} | {failed} | {without or ''} | {passes} |"


def alarms(each: int) -> Iterator[str]:
    """Yield how often `gradflow diagnose` calls a rate of the grid far off, and what it came to."""
    yield "| optimizer | networks | near the best | called far | further | called far | learnt |"
    yield "|---|---|---|---|---|---|---|"
    for kind in RATES:
        rows = [row for half in (0, 1) for row in chosen(kind, half, each)]
        seen = [found for row in rows for found in _called(row, kind)]
        near = [called for called, near, _ in seen if near]
        far = [(called, learnt) for called, near, learnt in seen if not near]
        learnt = sum(called and learnt for called, learnt in far)
        told = f"{len(near)} | {sum(near)} | {len(far)} | {sum(c for c, _ in far)} | {learnt}"
        yield f"| {kind} | {len(rows)} | {told} |"


def _called(row: dict[str, Any], kind: str) -> Iterator[tuple[bool, bool, bool]]:
    """Yield of every rate whether it is called far, is near the best, and trained the network."""
    drawn = draw(row["family"], row["seed"])
    inputs, targets = next(iter(Batches(drawn, row["seed"])))
    runs = {float(rate): last(run) for rate, run in row["runs"][kind].items()}
    best = min(runs, key=lambda rate: runs[rate])
    result = gradflow.diagnose(
        drawn.model, inputs, targets, loss=drawn.task.loss, lr=best, optimizer=kind
    )
    known = suggested(result, RateInUse(best, kind, 0.9)) if result.verdict == "healthy" else []
    for rate, loss in runs.items():
        called = all(rate < s.below for s in known) or all(rate > s.above for s in known)
        near = abs(math.log10(rate / best)) < 1.01
        yield bool(known) and called, near, loss < row["bound"]


def main() -> None:
    """Ask, train, write; or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--half", type=int, default=1, help="0: that which chose, 1: the other")
    parser.add_argument("--each", type=int, default=EACH, help="networks of each family")
    parser.add_argument("--common", action="store_true", help="networks with every method alone")
    parser.add_argument("--nearest", action="store_true", help="train as little as possible")
    parser.add_argument("--alarms", action="store_true", help="how often a rate is called far off")
    parser.add_argument("--grid", action="store_true", help=f"train the rates of {FINE.name}")
    given = parser.parse_args()
    if given.grid:
        refine(FINE)
    if given.alarms:
        print("\n".join(alarms(given.each)))
    if given.table is not None:
        lines = [json.loads(x) for x in given.table.read_text(encoding="utf-8").splitlines()]
        print("\n".join(table(lines, given.half, given.common)))
    if given.out is not None and importlib.util.find_spec("torch_lr_finder") is None:
        python = environment("finders", DEFAULT_CACHE)
        paths = {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])}
        command = [str(python), __file__, *sys.argv[1:]]
        sys.exit(subprocess.run(command, env={**os.environ, **paths}, check=False).returncode)
    if given.out is not None:
        _run(given.out, given.methods.split(","), given.half, given.each, given.nearest)


def _run(path: Path, methods: list[str], half: int, each: int, nearest: bool) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    seen = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    key = ("family", "seed", "optimizer", "method")
    done = {tuple(json.loads(line)[name] for name in key) for line in seen}
    with path.open("a", encoding="utf-8") as out:
        for kind, method, row in _jobs(methods, half, each):
            if (row["family"], row["seed"], kind, method) in done:
                continue
            found = record(row, kind, method, nearest)
            out.write(json.dumps(found) + "\n")
            out.flush()
            print(found, file=sys.stderr, flush=True)


def _jobs(methods: list[str], half: int, each: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    lists = {kind: chosen(kind, half, each) for kind in RATES}
    for i in range(max(map(len, lists.values()))):
        for kind, rows in lists.items():
            for method in methods:
                if i < len(rows):
                    yield kind, method, rows[i]


if __name__ == "__main__":
    main()
