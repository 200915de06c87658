"""What papers publish stands in `benchmarks/published`, once for these tests and for the page."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
if BENCHMARKS not in sys.path:  # at its end: nothing there hides a module of the tests
    sys.path.append(BENCHMARKS)
