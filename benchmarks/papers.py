"""Measure what papers publish in numbers, and print it beside what theory says.

python benchmarks/papers.py            # at initialisation: half a minute
python benchmarks/papers.py --train    # what training shows: some minutes
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence

import torch
from published import blocks, chains, jacobians, training, transformers
from published.claims import Claim

QUICK = [*jacobians.CLAIMS, *chains.CLAIMS, *blocks.CLAIMS, *transformers.CLAIMS]
COLUMNS = ("paper", "what", "published", "theory", "measured")


def cells(claim: Claim) -> tuple[str, ...]:
    """Return the row of one claim; a cross says that it does not hold."""
    found = claim.measured()
    low, high = claim.bounds
    sign = "" if low <= found.mean <= high else " ✗"
    return claim.paper, claim.what, claim.published, claim.theory, f"{found}{sign}"


def line(row: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(row)} |"


def main() -> None:
    """Print one line per claim, each as soon as it is measured."""
    parser = argparse.ArgumentParser(
        description=textwrap.dedent(__doc__ or ""), formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="what training shows, instead")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(line(COLUMNS))
    print(line(["---"] * len(COLUMNS)))
    for claim in training.CLAIMS if chosen.train else QUICK:
        print(line(cells(claim)), flush=True)


if __name__ == "__main__":
    main()
