"""Print the tables of tests/report/test_views.py into tests/report/golden, to be looked at."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
spec = importlib.util.spec_from_file_location("views", TESTS / "report" / "test_views.py")
assert spec is not None
assert spec.loader is not None
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)

(cases,) = (m for m in t.test_printed_tables_are_as_agreed.pytestmark if m.name == "parametrize")
for name, result in cases.args[1]:
    (t.GOLDEN / f"{name}.txt").write_text(t.text(result), encoding="utf-8")
    print(f"wrote {name}.txt")
