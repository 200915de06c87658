"""Measure what printing a table costs: milliseconds of CPU a row, at 100, 400 and 1000 layers.

Every row is printed (`--all`), with names of 20 and of 100 characters, at 80 and 160 columns.

    python benchmarks/printing.py
"""

from __future__ import annotations

import io
import math
import time

from rich.console import Console

from gradflow.report.console import ResultView
from gradflow.results.diagnosis import DiagnosisResult, LayerRow

ROWS = (100, 400, 1000)
NAMES = {
    20: "blocks.{}.attn.q_proj",
    100: "encoder_with_a_long_name.{}." + "feed_forward_" * 5 + "out",
}


def layer(index: int, name: str) -> LayerRow:
    """Return the row of a layer in which every column is filled."""
    fields = dict.fromkeys(LayerRow.columns(), 10.0 ** -(index % 7))
    own = {"index": index, "name": name.format(index), "kind": "Linear"}
    return LayerRow(**{**fields, "delta_log10_rms": -math.sqrt(index), **own})  # type: ignore[arg-type]


def milliseconds(rows: int, name: str, width: int) -> float:
    """Return the CPU time of printing so many rows, the least of five, per row."""
    result = DiagnosisResult(records=tuple(layer(i, name) for i in range(1, rows + 1)))
    times = []
    for _ in range(5):
        console = Console(file=io.StringIO(), width=width, highlight=False)
        start = time.process_time()
        console.print(ResultView(result))
        times.append(time.process_time() - start)
    return 1e3 * min(times) / rows


def main() -> None:
    """Print a line for each number of rows, length of names and width."""
    print("rows  name  columns  ms a row")
    for rows in ROWS:
        for length, name in NAMES.items():
            for width in (80, 160):
                took = milliseconds(rows, name, width)
                print(f"{rows:4}  {length:4}  {width:7}  {took:8.3f}")


if __name__ == "__main__":
    main()
