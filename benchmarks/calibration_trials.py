"""Does a short training of copies tell what one step does not? The study of a verdict with a trial.

Takes networks of calibration_families.py, the families in turn, and trains a copy of each for 50
steps of Adam at up to four rates, on the 64 examples that its diagnosis is given. What is left of
the loss there, and on 128 examples that no step saw, is held against what 200 steps (or 600) on
ever fresh examples came to.

    python benchmarks/calibration_trials.py --part E --count 252 --out FILE.jsonl
    python benchmarks/calibration_trials.py --table [FILE.jsonl]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from calibration_families import optimizer, outcomes
from calibration_families_fit import EXAMPLES, LEARNS, SICK, UNSEEN, Judged, measured
from families.others import OTHERS, draw_any

from gradflow.findings.batches import of_batch

RESULTS = Path(__file__).parent / "results"
KIND, RATES = "adam", (3e-3, 1e-3, 1e-2, 3e-4)
STEPS, BATCH, FRESH = 50, 32, 128
#: Where three steps have less than this share of a constant's loss, from the ninth on, the training
#: ends and no other rate is tried.
LEARNT, SOON = 0.3, 9
#: From so much of a constant prediction's loss on, nothing was learnt; from so much on, one step's
#: verdict stands. Chosen on the part "chosen".
STUCK, LITTLE = 0.98, 0.94
#: From so many times a constant's loss on examples that no step saw, it stands as well. Added when
#: part E had been looked at.
FAR = 3.0
PARTS = {
    "chosen": "of A to D, on which the two bounds of the second rule were chosen",
    "E": "of E, judged with these; the third rule was made after that",
    "rest": "others of A to D, judged once with all three",
}

Row = dict[str, Any]


def in_turn(records: list[Row], part: str) -> list[Row]:
    """Return the networks of E, or of A to D, in a random order in which families take turns."""
    order = random.Random(5)
    families: dict[str, list[Row]] = {}
    for record in records:
        if record["family"] not in OTHERS and (record["seed"] >= UNSEEN["E"]) == (part == "E"):
            families.setdefault(record["family"], []).append(record)
    for some in families.values():
        order.shuffle(some)
    longest = max(map(len, families.values()))
    return [some[i] for i in range(longest) for some in families.values() if i < len(some)]


def constant_of(judged: Judged) -> float | None:
    """Return what the best constant loses on the batch; None where the loss is no known one.

    Of classes, that is the entropy of the labels there, which 64 do not have equally often.
    """
    for one in of_batch(judged.result).criteria:
        if one.constant_loss is not None:
            return one.constant_loss if one.label_entropy is None else one.label_entropy
    return None


def trained(record: Row, rate: float) -> Row:
    """Train a copy at one rate on the batch given; say what is left there and of fresh examples."""
    drawn = draw_any(record["family"], record["seed"], record.get("harsh", False))
    inputs, targets = drawn.task.batch(EXAMPLES, torch.Generator().manual_seed(99))
    update, generator = optimizer(KIND, drawn.model, rate), torch.Generator().manual_seed(0)
    torch.manual_seed(1)
    learnt = -math.inf if record["family"] == "flow" else LEARNT * record["constant"]
    losses: list[float] = []
    for step in range(STEPS + 1):
        some = torch.randperm(EXAMPLES, generator=generator)[:BATCH]
        loss = drawn.task.loss(drawn.model(inputs[some]), targets[some])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return {"same": None, "fresh": None}
        if step == STEPS:
            break
        update.zero_grad()
        loss.backward()
        update.step()
        if len(losses) >= SOON and max(losses[-3:]) < learnt:
            break
    fresh = drawn.task.batch(FRESH, torch.Generator().manual_seed(777))
    with torch.no_grad():
        left = [drawn.task.loss(drawn.model(x), y).item() for x, y in ((inputs, targets), fresh)]
    same, unseen = (value if math.isfinite(value) else None for value in left)
    return {"same": same, "fresh": unseen, "soon": len(losses) <= STEPS}


def tried(record: Row, part: str) -> Row:
    """Diagnose a network, and train copies of it until a rate learns soon."""
    judged = measured(record)
    runs: dict[str, Row] = {}
    for rate in RATES:
        runs[str(rate)] = trained(record, rate)
        if runs[str(rate)].pop("soon", False):
            break
    return {
        "part": part,
        "family": record["family"],
        "seed": record["seed"],
        "left": judged.left[KIND],
        "verdict": judged.verdict(KIND),
        "constant": constant_of(judged),
        "runs": runs,
    }


def one_step(row: Row) -> bool:
    """Return whether the verdict of one step is that it does not learn."""
    return row["verdict"] not in ("healthy", "unjudged")


def left(row: Row) -> tuple[float, float] | None:
    """Return what the best rate leaves of the constant's loss, there and on fresh examples."""
    constant = row["constant"]
    if constant is None:
        return None
    runs = [run for run in row["runs"].values() if run["same"] is not None]
    best = min(runs, key=lambda run: run["same"], default={"same": math.inf, "fresh": None})
    fresh = math.inf if best["fresh"] is None else best["fresh"]
    return best["same"] / constant, fresh / constant


def with_trial(row: Row) -> bool:
    """The same by the loss on the batch; by one step where that fell little, or is no known one."""
    found = left(row)
    if found is None:
        return one_step(row)
    return found[0] >= STUCK or (found[0] >= LITTLE and one_step(row))


def with_fresh(row: Row) -> bool:
    """The same, and one step's verdict stands where the loss on fresh examples is far too large."""
    found = left(row)
    return with_trial(row) or (found is not None and found[1] >= FAR and one_step(row))


RULES: dict[str, Callable[[Row], bool]] = {
    "one step": one_step,
    "and a trial": with_trial,
    "and fresh examples": with_fresh,
}


def cell(rows: list[Row], rule: Callable[[Row], bool]) -> str:
    """Return balanced accuracy, and what it is made of."""
    learn = [rule(row) for row in rows if row["left"] < LEARNS]
    sick = [not rule(row) for row in rows if row["left"] >= SICK]
    shares = [1 - sum(wrong) / len(wrong) for wrong in (learn, sick) if wrong]
    balanced = sum(shares) / len(shares) if shares else math.nan
    return f"{balanced:.3f} ({sum(learn)} of {len(learn)}, {sum(sick)} of {len(sick)})"


def table(rows: list[Row]) -> Iterator[str]:
    """Yield a line a part, and a line a family of all that the first two bounds did not see."""
    yield "balanced accuracy (wrongly sick of those that learn, missed of the sick)"
    yield f"{'':12}" + "".join(f"  {name:28}" for name in RULES).rstrip()
    unseen = [row for row in rows if row["part"] != "chosen"]
    for name in PARTS:
        yield _line(name, [row for row in rows if row["part"] == name])
    yield _line("E and rest", unseen)
    for family in dict.fromkeys(row["family"] for row in unseen):
        yield _line(family, [row for row in unseen if row["family"] == family])
    for name, what in PARTS.items():
        yield f"{name}: {sum(row['part'] == name for row in rows)} {what}"


def _line(name: str, rows: list[Row]) -> str:
    cells = (f"  {cell(rows, rule):28}" for rule in RULES.values())
    return f"{name:12}{''.join(cells)}".rstrip()


def main() -> None:
    """Train and write, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=list(PARTS), default="E")
    parser.add_argument("--count", type=int, default=252, help="networks, the first in turn")
    parser.add_argument("--records", type=Path, default=RESULTS / "families.jsonl")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, nargs="?", const=RESULTS / "trials.jsonl")
    given = parser.parse_args()
    if given.table is not None:
        lines = given.table.read_text(encoding="utf-8").splitlines()
        print("\n".join(table(list(map(json.loads, lines)))))
        return
    if given.out is None:
        parser.error("--out FILE.jsonl, or --table")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    warnings.simplefilter("ignore")
    with given.out.open("w", encoding="utf-8") as out:
        for record in in_turn(outcomes(given.records), given.part)[: given.count]:
            out.write(json.dumps(tried(record, given.part)) + "\n")


if __name__ == "__main__":
    main()
