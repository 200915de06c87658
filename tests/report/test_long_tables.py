"""Tables of many layers: what a person sees of them, how wide they are, what they cost."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence

import pytest
from rich.console import Console

from gradflow.report.console import ResultView
from gradflow.report.excerpt import Gap, excerpt
from gradflow.results.diagnosis import DiagnosisResult, LayerRow
from gradflow.results.theory import TheoryRow

LONG = "encoder_with_quite_a_long_name.{}." + "feed_forward_" * 5 + "projection"


def layer(index: int, name: str = "blocks.{}.fc", **fields: float | None) -> LayerRow:
    own = {"index": index, "name": name.format((index - 1) // 4), "kind": "Linear"}
    flat = {"delta_log10_rms": -3.0 + 1e-3 * index, "gradient_norm": 1.0, "update_ratio": 1e-3}
    given = dict.fromkeys(LayerRow.columns()) | flat | fields | own
    return LayerRow(**given)  # type: ignore[arg-type]


def lines(records: list[LayerRow], width: int = 80, *, every_row: bool = False) -> list[str]:
    result = DiagnosisResult(records=tuple(records), rate=1.0)
    console = Console(width=width, color_system=None, file=io.StringIO())
    console.print(ResultView(result, every_row=every_row))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def shown(records: Sequence[LayerRow | TheoryRow]) -> set[int]:
    return {place + 1 for place in excerpt(records) if isinstance(place, int)}


def test_theory_shows_twenty_layers_whole_and_the_ends_of_more() -> None:
    rows = [TheoryRow(i, 1.0, 0.9, 1.0, -float(i)) for i in range(1, 51)]
    assert shown(rows[:20]) == set(range(1, 21))
    assert shown(rows) <= {*range(1, 10), *range(42, 51)}


def test_a_table_of_sixty_layers_is_shown_whole() -> None:
    assert shown([layer(i) for i in range(1, LayerRow.many + 1)]) == set(
        range(1, LayerRow.many + 1)
    )


def test_of_more_the_ends_are_shown_and_the_rest_counted() -> None:
    records = [layer(i) for i in range(1, 301)]
    assert {1, 2, 3, 298, 299, 300} <= shown(records)
    gaps = [place for place in excerpt(records) if isinstance(place, Gap)]
    assert sum(gap.stop - gap.start for gap in gaps) + len(shown(records)) == 300
    assert len(lines(records)) < 60
    assert len(lines(records, every_row=True)) > 300


def test_a_line_says_how_many_layers_it_stands_for_and_what_they_are_like() -> None:
    records = [layer(i, delta_log10_rms=-2.0) for i in range(1, 301)]
    (first, *_) = (place for place in excerpt(records) if isinstance(place, Gap))
    count = first.stop - first.start
    assert first.text.startswith(f"… {count} layers like this: log₁₀ δ -2.00 (blocks.1 to blocks.")


@pytest.mark.parametrize(
    "fields",
    [
        {"delta_log10_rms": -40.0},
        {"delta_log10_rms": math.nan},
        {"delta_log10_rms": -math.inf},
        {"dead_fraction": 1.0},
        {"saturated_fraction": 0.8},
        {"update_ratio": 10.0},
        {"forward_nonfinite": 3},
    ],
    ids=lambda fields: "-".join(map(str, next(iter(fields.items())))),
)
def test_the_worst_is_shown_wherever_it_is(fields: dict[str, float]) -> None:
    records = [layer(i, **(fields if i == 137 else {})) for i in range(1, 301)]
    assert 137 in shown(records)
    assert 136 not in shown(records)


def test_where_all_are_bad_the_table_stays_short() -> None:
    records = [layer(i, dead_fraction=1.0, delta_log10_rms=-math.inf) for i in range(1, 1001)]
    assert len(lines(records)) < 70


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_names_of_a_hundred_characters_fit_and_stay_apart(width: int) -> None:
    records = [layer(4 * i + 1, LONG) for i in range(60)]
    printed = lines(records, width)
    assert max(map(len, printed)) <= width
    rows = [line for line in printed if line.split()[0].isdigit()]
    names = [line.split()[1] for line in rows]
    assert len(set(names)) == 60 or width == 40  # folded there
    assert max(map(len, names)) <= len(LONG) + 2


def test_names_have_the_room_that_is_left() -> None:
    records = [layer(1, LONG), layer(5, LONG)]
    assert any(LONG.format(1) in line for line in lines(records, 200))


def test_names_that_count_the_layers_need_no_number_beside_them() -> None:
    records = [layer(1, "hidden1.linear"), layer(2, "hidden2.linear"), layer(3, "output")]
    heading, *rows = lines(records)[1:6]
    assert heading.startswith("layer")
    assert [row.split()[0] for row in rows[1:]] == ["hidden1", "hidden2", "output"]
    other = lines([layer(1, "0"), layer(2, "2")])[1:]  # a Sequential's places
    assert other[0].split()[:2] == ["#", "layer"]
    assert [line.split()[:2] for line in other[2:4]] == [["1", "0"], ["2", "2"]]


def test_the_cost_of_printing_grows_with_the_rows_alone() -> None:
    def cost(count: int) -> float:
        records = [layer(4 * i + 1, LONG) for i in range(count)]
        times = []
        for _ in range(3):
            start = time.process_time()
            lines(records, every_row=True)
            times.append(time.process_time() - start)
        return min(times)

    few, many = cost(200), cost(1600)
    assert many < 20 * few + 0.05  # quadratic would be 64
    assert many < 1600 * 1e-3  # a millisecond a row
