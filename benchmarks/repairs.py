"""Does what `diagnose` names first repair a sick network, and does its order mean anything?

Takes networks that fail to learn at every rate (of benchmarks/results/families.jsonl, and built-in
ones of calibration-2.jsonl; none on which remedies were chosen) and that the verdict calls sick.
Remedies are tried as `diagnose(…, remedies=True)` tries them by default, on one batch; the best are
then truly trained: other seeds, fresh examples at every step, more steps, every rate of the trial,
the best of which goes on to the end. A network trains where its loss on examples that no step saw
comes to 0.6 of the best constant prediction's (a flow: one nat below a Gaussian's).

    python benchmarks/repairs.py --out benchmarks/results/repairs.jsonl
    python benchmarks/repairs.py --table benchmarks/results/repairs.jsonl
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from calibration_families import BATCH, bound, checked, loss_of, outcomes
from families.networks import Drawn, draw
from scipy.stats import spearmanr

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.remedies.catalogue import REMEDIES
from gradflow.diagnosis.remedies.code import applied
from gradflow.diagnosis.remedies.grid import Plan, Rate
from gradflow.diagnosis.remedies.loop import PLAIN
from gradflow.diagnosis.remedies.replicas import Replicas, examples
from gradflow.diagnosis.remedies.updates import Update
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

RESULTS = Path(__file__).parent / "results"
#: What came of training networks: of families, and of built-in ones.
FAMILIES, BUILT_IN = RESULTS / "families.jsonl", RESULTS / "calibration-2.jsonl"
#: Remedies and how long they are tried were chosen on what was drawn from smaller seeds.
FROM_SEED = 50_000
#: Steps of the training that a trial is to foretell; examples of the batch given.
STEPS, GIVEN = 200, 256
#: Families that are trained three times as long: what they have to remember lies far back, or few
#: of them learn in so few steps however they start (10 of 28 regressors).
LONG = ("recurrent", "regressor")
#: Share of the steps that are taken at every rate; the best goes on alone.
EVERY_RATE = 0.4
#: How many remedies are truly trained: of the order's front, and of all, evenly.
FIRST, ALL = 3, 4

#: Families whose steps are quick; of the others one is taken where those give so many.
QUICK = ("regressor", "graph", "mlp", "autoencoder", "flow", "vae")
SLOW = ("built-in", "mixer", "transformer", "cnn", "recurrent", "unet", "densenet")
OFTENER = 4


def failing(per_family: int, families: Path = FAMILIES) -> Iterator[dict[str, Any]]:
    """Networks that learnt at no rate: from every family in turn."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in (*outcomes(families), *_lines(BUILT_IN)):
        if "config" in record and max(record["accuracies"]) < 0.5:
            job = {"family": "built-in", "config": record["config"]}
        elif record.get("seed", 0) >= FROM_SEED and not any(record["learns"].values()):
            job = {name: record.get(name, False) for name in ("family", "seed", "harsh")}
        else:
            continue
        found.setdefault(job["family"], []).append(job)
    for turn in range(per_family):
        yield from (job for name in QUICK for job in found.get(name, [])[turn : turn + 1])
        place, rest = divmod(turn, OFTENER)
        if rest == 0:
            yield from (job for name in SLOW for job in found.get(name, [])[place : place + 1])


def todo(jobs: Iterable[dict[str, Any]], part: str, before: list[dict[str, Any]]) -> Any:
    """Return every Nth network, from the Kth on, of those not tried before; `part` is K/N."""
    first, every = map(int, part.split("/"))
    return [job for job in jobs if job not in before][first - 1 :: every]


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(map(json.loads, path.read_text(encoding="utf-8").splitlines()))


def _jobs_in(path: Path) -> list[dict[str, Any]]:
    """Networks of a file, each as it was asked for."""
    names = ("family", "seed", "harsh", "config")
    return [{n: record[n] for n in names if n in record} for record in _lines(path)]


def chosen(rows: tuple[RemedyRow, ...]) -> list[tuple[int, RemedyRow]]:
    """Return the first remedies and some of the other healthy ones, with their places."""
    placed = [(place, row) for place, row in enumerate(rows) if row.optimizer is not None]
    rest = [pair for pair in placed[FIRST:] if pair[1].verdict == "healthy"]
    count = min(ALL - FIRST, len(rest))
    return [*placed[:FIRST], *(rest[(i + 1) * len(rest) // count - 1] for i in range(count))]


def rates_of(row: RemedyRow) -> tuple[Rate, ...]:
    """Return the rates that it was tried with: that which won there need not win here."""
    return (REMEDIES[row.remedy].loop or PLAIN).rates(Plan().rates())


def drawn_again(job: dict[str, Any]) -> Drawn:
    """Draw a network of a family."""
    return draw(job["family"], job["seed"], job["harsh"])


def repaired(job: dict[str, Any]) -> dict[str, Any] | None:
    """Try remedies on one network and train the best; None where it is not called sick."""
    if job["family"] == "built-in":
        return _built_in(NetworkConfig(**job["config"]), job)
    drawn = drawn_again(job)
    inputs, targets = drawn.task.batch(GIVEN, torch.Generator().manual_seed(1))
    given: Any = (copy.deepcopy(drawn.model), inputs, targets)
    result = diagnose(*given, loss=drawn.task.loss, remedies=True)
    limit = bound(drawn, job["family"])
    steps = 3 * STEPS if job["family"] in LONG else STEPS

    def train(row: RemedyRow) -> float:
        runs = [Run(job, row, rate) for rate in rates_of(row)]
        for run in runs:
            run.go_on(round(EVERY_RATE * steps))
        best = min(runs, key=Run.loss)
        best.go_on(steps)
        return best.loss()

    return _record(job, result, limit, train)


class Run:
    """A remedied network in a training with fresh examples at every step, from other seeds."""

    def __init__(self, job: dict[str, Any], row: RemedyRow, rate: Rate) -> None:
        anew, lines = drawn_again(job), row.torch.replace("manual_seed(0)", "manual_seed(77)")
        loop = REMEDIES[row.remedy].loop
        model = applied(anew.model, lines) if loop is None else anew.model
        self.drawn = Drawn(model, anew.task, anew.options)
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.update = Update(parameters, [rate], loop or PLAIN)
        self.generator = torch.Generator().manual_seed(78)

    def go_on(self, steps: int) -> None:
        """Go on until so many steps were taken, or the loss is no number."""
        torch.manual_seed(79)
        torch.set_flush_denormal(True)  # nothing is measured here
        while self.update.steps < steps:
            loss = loss_of(self.drawn, *self.drawn.task.batch(BATCH, self.generator))
            if not math.isfinite(loss.item()):
                break
            self.update.step(loss)
        torch.set_flush_denormal(False)

    def loss(self) -> float:
        """Return the loss on examples that no step saw."""
        return checked(self.drawn)


def _built_in(config: NetworkConfig, job: dict[str, Any]) -> dict[str, Any] | None:
    result = diagnose(config, remedies=True)
    data = examples(config)

    def train(row: RemedyRow) -> float:
        remedy = REMEDIES[row.remedy]
        changed = remedy.change(config) if remedy.change is not None else config
        assert changed is not None
        other = dataclasses.replace(changed, seed=config.seed + 77)
        replicas = Replicas(other, data, rates_of(row), STEPS, remedy.loop or PLAIN)
        replicas.generator.manual_seed(78)
        replicas.until(EVERY_RATE)
        replicas.until(EVERY_RATE)
        replicas.until(1.0)
        return replicas.trial().loss

    return _record(job, result, 0.6 * math.log(10), train)


def _record(job: dict[str, Any], result: DiagnosisResult, limit: float, train: Any) -> Any:
    if result.verdict in ("healthy", "unjudged") or not result.remedies:
        return None
    rows = []
    for place, row in chosen(result.remedies):
        assert row.optimizer is not None
        loss = train(row)
        rows.append(
            {
                "place": place,
                "remedy": row.remedy,
                "verdict": row.verdict,
                "trial": _plain(row.trained_loss),
                "trained": _plain(loss),
            }
        )
    return {
        **job,
        "verdict": result.verdict,
        "untreated": _plain(result.untreated_loss),
        "bound": limit,
        "remedies": rows,
    }


def _plain(loss: float | None) -> float | None:
    return None if loss is None or not math.isfinite(loss) else round(loss, 6)


def trains(record: dict[str, Any], first: int) -> bool:
    """Return whether one of the first remedies made a network learn."""
    return any(
        row["trained"] is not None and row["trained"] < record["bound"]
        for row in record["remedies"]
        if row["place"] < first
    )


def correlation(record: dict[str, Any]) -> float | None:
    """Return the rank correlation of place and trained loss among healthy remedies."""
    rows = [row for row in record["remedies"] if row["verdict"] == "healthy"]
    losses = [math.inf if row["trained"] is None else row["trained"] for row in rows]
    if len(rows) < 3 or len(set(losses)) == 1:
        return None
    return float(spearmanr([row["place"] for row in rows], losses).statistic)


def table(records: list[dict[str, Any]]) -> str:
    """Return the table: a line for each family, and one for all."""
    families = list(dict.fromkeys(record["family"] for record in records))
    lines = [f"{'family':12} {'sick':>5} {'first':>7} {'best of 3':>10} {'rank corr.':>11}"]
    for family in [*families, "all"]:
        some = [r for r in records if family in ("all", r["family"])]
        found = [c for r in some if (c := correlation(r)) is not None]
        one, three = (sum(trains(r, n) for r in some) / len(some) for n in (1, FIRST))
        rank = f"{sum(found) / len(found):.2f}" if found else "-"
        lines.append(f"{family:12} {len(some):5} {one:7.0%} {three:10.0%} {rank:>11}")
    return "\n".join(lines)


def main() -> None:
    """Repair, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-family", type=int, default=20)
    parser.add_argument("--families", type=Path, default=FAMILIES, help="what came of training")
    parser.add_argument("--only", help="families, with commas")
    parser.add_argument("--add", action="store_true", help="go on with a file that is there")
    parser.add_argument("--minutes", type=float, default=60, help="no network is begun after them")
    parser.add_argument("--part", default="1/1", help="K/N: every Nth network, from the Kth on")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a file")
    parser.add_argument("--list", action="store_true", help="say which were not repaired")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    if given.out is not None:
        before = _jobs_in(given.out) if given.add else []
        jobs = failing(given.per_family, given.families)
        if given.only is not None:
            jobs = (job for job in jobs if job["family"] in given.only.split(","))
        with given.out.open("a" if given.add else "w", encoding="utf-8") as out:
            for job in todo(jobs, given.part, before):
                if time.perf_counter() - began > 60 * given.minutes:
                    break
                start, found = time.perf_counter(), repaired(job)
                name = f"{job['family']} {job.get('seed', '')}"
                seconds = time.perf_counter() - start
                said = "not called sick" if found is None else f"first trains: {trains(found, 1)}"
                print(f"{name}: {said} ({seconds:.0f} s)", file=sys.stderr, flush=True)
                out.write(json.dumps(found or {**job, "verdict": "healthy"}) + "\n")
                out.flush()
    source = given.table or given.out
    if source is not None:
        records = [record for record in _lines(source) if record["verdict"] != "healthy"]
        print(table(records))
        for r in records if given.list else ():
            if not trains(r, FIRST):
                print(r["family"], r.get("seed", ""), r["verdict"], r["remedies"])


if __name__ == "__main__":
    main()
