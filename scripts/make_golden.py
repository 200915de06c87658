"""Print the tables of tests/test_report.py into tests/golden, to be looked at and committed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import test_report as t

(cases,) = (m for m in t.test_printed_tables_are_as_agreed.pytestmark if m.name == "parametrize")
for name, result in cases.args[1]:
    (t.GOLDEN / f"{name}.txt").write_text(t.text(result), encoding="utf-8")
    print(f"wrote {name}.txt")
