"""Every view of every result holds for no row, one, a thousand, and numbers that are not finite."""

from __future__ import annotations

import csv
import dataclasses
import math
import typing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.figure_results import ALL
from support.laws import tried

from gradflow.report import figures, jsonfile, tabular, text
from gradflow.results.base import Result
from gradflow.results.decoding import parse

#: Those that are drawn in moments; a result of every command among them.
SMALL = {name: result for name, result in ALL.items() if len(result.records) <= 50}
ODD = [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e308, 5e-324]


def number_fields(of: type[Any]) -> dict[str, bool]:
    """The float fields of a dataclass, and whether they may be None."""
    hints = typing.get_type_hints(of)
    kinds = {float: False, float | None: True}
    return {f.name: kinds[hints[f.name]] for f in dataclasses.fields(of) if hints[f.name] in kinds}


def tables(result: Result) -> list[str]:
    """The names of a result's tables."""
    further = [f.name for f in dataclasses.fields(result) if "rows_of" in f.metadata]
    return ["records", *further]


@st.composite
def odd_results(draw: st.DrawFn, values: list[float], most: int = 1000) -> Result:
    """A result with another number of rows in a table, and odd numbers in a column of it."""
    result = SMALL[draw(st.sampled_from(sorted(SMALL)))]
    table = draw(st.sampled_from(tables(result)))
    rows = getattr(result, table)
    count = draw(st.sampled_from([0, 1, 2, len(rows), most]))
    rows = (rows * (count // max(len(rows), 1) + 1))[:count]
    columns = number_fields(type(rows[0])) if rows else {}
    if columns:
        column = draw(st.sampled_from(sorted(columns)))
        odd = draw(st.sampled_from([*values, *([None] if columns[column] else [])]))
        changed = draw(st.sampled_from([1, len(rows)]))
        new = (dataclasses.replace(row, **{column: odd}) for row in rows[:changed])
        rows = (*new, *rows[changed:])
    return dataclasses.replace(result, **{table: rows})


@tried(30)
@given(result=odd_results(ODD))
def test_tables_are_printed_and_written(result: Result, tmp_path: Path) -> None:
    assert "│" not in text(result)
    tabular.write_csv(result, tmp_path / "table.csv")
    tabular.write_markdown(result, tmp_path / "table.md")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert len(lines) == 1 + len(result.records)
    assert {len(line) for line in lines} == {len(result.row_type.columns())}


@tried(60)
@given(result=odd_results(ODD, most=30))
def test_json_gives_back_the_same_result(result: Result, tmp_path: Path) -> None:
    jsonfile.write(result, tmp_path / "result.json")
    again = Result.from_dict(parse((tmp_path / "result.json").read_bytes()))
    # By what they print: NaN is not equal to itself. Facts are for checks alone, and not written.
    assert repr(again) == repr(result)


#: Results of a table alone, and what its figure is drawn over: settings, which are finite.
DRAWN = {"eval": "x", "activations": "", "chain": "", "diagnose": "", "theory": "", "lr": "rate"}


@tried(6)
@given(
    name=st.sampled_from(sorted(DRAWN)),
    count=st.sampled_from([0, 1, 2, 100]),
    odd=st.sampled_from([math.nan, math.inf, 0.0]),
    data=st.data(),
)
def test_figures_are_drawn(name: str, count: int, odd: float, data: st.DataObject) -> None:
    result = SMALL[name]
    columns = sorted(set(number_fields(result.row_type)) - {DRAWN[name]})
    column = data.draw(st.sampled_from(columns))
    rows = (result.records * count)[:count]
    changed = tuple(dataclasses.replace(row, **{column: odd}) for row in rows)
    half = data.draw(st.sampled_from([0, len(rows) // 2]))
    figures.draw(dataclasses.replace(result, records=rows[:half] + changed[half:]))
