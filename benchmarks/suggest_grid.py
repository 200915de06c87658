"""Does `clip --suggest` find a threshold as good as the best of a grid?

For each of five tasks: thresholds proposed and tried by ``--suggest``, and norm clipping at each
of twelve thresholds from 0.01 to 1000, the same for all tasks, with the same seeds and batches.
Asked for: a final loss within 5 % of the grid's best on at least four of five tasks. Both were
chosen by that loss, so both are trained once more on other seeds, which chose nothing.

    python benchmarks/suggest_grid.py [FIRST_SEED]
"""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

import numpy as np
import torch

from gradflow import ClipConfig, NetworkConfig
from gradflow.clipping.run import clip
from gradflow.clipping.tasks import network_for
from gradflow.results.clipping import ClipResult, best_of

SEEDS = 5
GRID = np.geomspace(0.01, 1000, 12)
WITHIN = 1.05


class Case(NamedTuple):
    """A task and the options that differ from its own."""

    task: str
    options: dict[str, Any]


CASES = (
    Case("deep-mlp", {}),
    Case("adding", {"arch": "rnn"}),
    Case("copy", {"arch": "rnn"}),
    Case("mnist-rows", {"arch": "rnn"}),
    Case("mnist-rows", {"arch": "gru", "lr": 0.5}),
)


def run(case: Case, first_seed: int, **config: Any) -> ClipResult:
    """Clip one task with its own defaults."""
    given = {**case.options, "device": "cpu", "seeds": SEEDS, "seed": first_seed}
    network = network_for(case.task, NetworkConfig(**given), given)
    return clip(network, ClipConfig(task=case.task, **config))


def main() -> None:
    """Print a block per task and the count at the end."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, seeds {seed} to "
        f"{seed + SEEDS - 1}; once more on {seed + SEEDS} to {seed + 2 * SEEDS - 1}"
    )
    start, near = time.perf_counter(), 0
    for case in CASES:
        near += compare(case, seed)
    print(
        f"\nwithin 5 % of the grid's best on {near} of {len(CASES)} tasks "
        f"({time.perf_counter() - start:.0f} s)"
    )


def compare(case: Case, seed: int) -> bool:
    """Print what was suggested beside the grid; return whether it is within 5 %."""
    suggested = run(case, seed, suggest=True)
    grid = run(case, seed, policy=tuple(f"norm:{threshold:.3g}" for threshold in GRID))
    mine, best = best_of(suggested.records), best_of(grid.records)
    assert mine is not None
    assert best is not None
    print(f"\n{case.task} {case.options or ''}, {suggested.steps} steps")
    print("  grid     " + losses(grid))
    print("  proposed " + losses(suggested))
    ratio = (mine.final_loss or 0.0) / (best.final_loss or 0.0)
    print(
        f"  suggested {limit(mine)}: {mine.final_loss:.4g}; best of the grid {limit(best)}: "
        f"{best.final_loss:.4g}; ratio {ratio:.3f}"
    )
    policies = tuple(dict.fromkeys((policy(mine), policy(best))))
    again = run(case, seed + SEEDS, policy=policies)
    fresh = [row.final_loss or 0.0 for row in again.records]
    print(f"  other seeds: {fresh[0]:.4g} and {fresh[-1]:.4g}; ratio {fresh[0] / fresh[-1]:.3f}")
    return ratio <= WITHIN


def losses(result: ClipResult) -> str:
    """Return thresholds with their final losses (median over seeds) and shares clipped."""
    return "  ".join(
        f"{limit(row)}: {row.final_loss:.4g} ({row.engaged_fraction:.0%})" for row in result.records
    )


def limit(row: Any) -> str:
    """Return a row's threshold in words."""
    return "unclipped" if row.threshold is None else f"{row.threshold:.3g}"


def policy(row: Any) -> str:
    """Return the ``--policy`` that does the same again."""
    return "none" if row.threshold is None else f"norm:{row.threshold:.6g}"


if __name__ == "__main__":
    main()
