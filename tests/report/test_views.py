"""Tables, files and documents: what a person and a program read."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import stat
import sys
from pathlib import Path

import pytest
from rich.console import Console

from gradflow import report
from gradflow.activations import ACTIVATIONS
from gradflow.errors import GradflowError
from gradflow.functions.chain import chain
from gradflow.functions.evaluate import catalogue, curves, evaluate
from gradflow.report.console import ResultView
from gradflow.report.files import check_writable, default_figure
from gradflow.report.formatting import bars, cell
from gradflow.report.html.page import page
from gradflow.report.tabular import markdown
from gradflow.results.activations import Cost
from gradflow.results.base import Column, Finding, Result
from gradflow.results.diagnosis import DiagnosisResult, LayerRow

GOLDEN = Path(__file__).parent / "golden"
#: The article's exploding chain; nothing in it depends on the machine.
CHAIN = chain([100] * 3, [0.13, 0.21, 0.09, 0.14], cost_slope=-1, bias=1.56)


def text(result: Result, width: int = 80) -> str:
    console = Console(width=width, color_system=None, file=io.StringIO(), legacy_windows=False)
    console.print(ResultView(result))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def layer(index: int, **fields: float | str | None) -> LayerRow:
    given: dict[str, object] = dict.fromkeys(LayerRow.columns())
    given |= {"index": index, "name": f"h{index}"}
    return LayerRow(**{**given, "kind": "Linear", **fields})  # type: ignore[arg-type]


DIAGNOSIS = DiagnosisResult(
    records=(
        layer(1, gradient_norm=1e-9, delta_log10_rms=-9.0, dead_fraction=0.0),
        layer(2, gradient_norm=0.0, delta_log10_rms=-math.inf, dead_fraction=1.0),
        layer(3, gradient_norm=math.nan, delta_log10_rms=-1.0),
    ),
    findings=(Finding("dead", "error", (2,), "layer 2 is dead", "wake it"),),
    verdict="dead",
    hidden=2,
)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("chain", CHAIN),
        ("eval", evaluate("relu", [-1.0, 0.0, 2.0])),
        ("plot", curves(["relu", "elu"])),
        ("diagnose", DIAGNOSIS),
    ],
)
def test_printed_tables_are_as_agreed(name: str, result: Result) -> None:
    path = GOLDEN / f"{name}.txt"
    assert text(result) == path.read_text(encoding="utf-8")


def test_the_golden_chain_multiplies_up() -> None:
    """A golden file regenerated blindly still has to add up."""
    lines = (GOLDEN / "chain.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line[:1].isdigit()]
    product = 1.0
    for row in rows:
        product *= float(row[2])
        assert float(row[3]) == pytest.approx(product, rel=1e-9)
    assert product == pytest.approx(-343.98)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for result in (CHAIN, DIAGNOSIS, curves(["relu"]), evaluate("gelu", [1.0])):
        lines = text(result, width).splitlines()
        assert max(map(len, lines)) <= width, result.command


def test_what_matters_most_survives_a_narrow_terminal() -> None:
    heading = next(line for line in text(DIAGNOSIS, 40).splitlines() if "layer" in line)
    assert "log₁₀ δ" in heading


def test_bars_are_full_for_the_largest_and_empty_for_what_has_no_logarithm() -> None:
    small, large, none, nan = bars([-5.0, 0.0, -math.inf, math.nan])
    assert (small, large, none, nan) == ("▏", "█" * 10, "", "")
    assert bars([]) == []
    assert bars([None]) == [""]


def test_a_flat_column_has_flat_bars() -> None:
    assert bars([1.0, 1.01, 1.0]) == ["█████████▉", "█" * 10, "█████████▉"]


def test_cells() -> None:
    number = Column("x", ".3g")
    assert cell(None, number) == "–"
    assert cell(math.nan, number) == "NaN"
    assert cell(-math.inf, number) == "-∞"
    assert cell(True, Column("x")) == "yes"
    assert cell({"alpha": 0.2}, Column("x")) == "alpha=0.2"
    assert cell(((1.0, 2.0),), Column("x")) == "1 to 2"


def test_json_writes_non_finite_numbers_as_the_contracts_strings() -> None:
    document = json.loads(report.jsonfile.dumps(DIAGNOSIS))
    assert document["rows"][1]["delta_log10_rms"] == "-Infinity"
    assert document["rows"][2]["gradient_norm"] == "NaN"
    assert document["rows"][0]["gradient_norm"] == 1e-9
    assert list(document)[:3] == ["schema", "command", "meta"]
    assert document["findings"][0]["layers"] == [2]


def test_json_comes_back_as_the_same_result() -> None:
    again = report.jsonfile.loads(report.jsonfile.dumps(DIAGNOSIS))
    assert report.jsonfile.dumps(again) == report.jsonfile.dumps(DIAGNOSIS)
    assert again.records[1] == DIAGNOSIS.records[1]


@pytest.mark.parametrize("change", [{"schema": 2}, {"command": "frobnicate"}])
def test_another_document_is_not_read(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a gradflow document"):
        Result.from_dict({**CHAIN.to_dict(), **change})


def test_a_name_that_is_no_utf_8_is_written_to_every_text(tmp_path: Path) -> None:
    """As a path's bytes come from the system: half a character each."""
    named = DiagnosisResult(records=(layer(1, name="h\udcff"),))
    for suffix in ("json", "csv", "md"):
        path = named.save(tmp_path / f"out.{suffix}")
        assert "h\\udcff" in path.read_text(encoding="utf-8").replace("\\\\", "\\")
    assert json.loads((tmp_path / "out.json").read_bytes())["rows"][0]["name"] == "h\udcff"


def test_csv_has_the_json_names_and_full_precision(tmp_path: Path) -> None:
    path = report.save(CHAIN, tmp_path / "chain.csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [float(row["product"]) for row in rows] == [row.product for row in CHAIN.records]


def test_markdown_has_a_row_for_each(tmp_path: Path) -> None:
    lines = report.save(CHAIN, tmp_path / "chain.md").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("| ") for line in lines) == 2 + len(CHAIN.records)  # and the rule
    table = [line for line in lines if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {6}


def test_markdown_has_the_columns_that_a_page_has_room_for() -> None:
    """What holds nothing is left out, then what matters least; .csv has everything."""
    row = layer(1, **dict.fromkeys(list(LayerRow.columns())[3:], 0.5))
    heading = markdown(DiagnosisResult(records=(row,), rate=1.0)).splitlines()[2]
    assert heading.count("|") <= 13
    assert all(f"| {name} |" in heading for name in ("layer", "‖∂C/∂W‖", "log₁₀ δ"))
    few = layer(1, name="fc", gradient_norm=1.0, update_ratio=0.1)
    heading = markdown(DiagnosisResult(records=(few,), rate=1.0)).splitlines()[2]
    assert heading == "| # | layer | ‖∂C/∂W‖ | update |"


def test_no_line_ends_in_a_blank() -> None:
    """Of words as of tables, where they are wrapped and where they are not."""
    finding = Finding("dead", "error", (1,), "so many words that " * 9, "words, and more " * 7)
    for width in range(30, 60):
        lines = text(dataclasses.replace(CHAIN, findings=(finding,)), width).splitlines()
        assert [line for line in lines if line != line.rstrip()] == []
        assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize("suffix", report.WRITERS)
def test_every_format_writes_something_and_leaves_no_rubbish(suffix: str, tmp_path: Path) -> None:
    report.save(CHAIN, tmp_path / f"out{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [f"out{suffix}"]
    assert (tmp_path / f"out{suffix}").stat().st_size > 100


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    path.write_text("mine")

    def fails(result: Result, target: Path) -> None:
        target.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(report.WRITERS, ".json", fails)
    with pytest.raises(KeyboardInterrupt):
        report.save(CHAIN, path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    report.save(CHAIN, link)
    assert link.is_symlink()
    assert json.loads(real.read_text(encoding="utf-8"))["command"] == "chain"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("-", "not a file"),
        ("out.gif", "cannot tell a format"),
        ("out", "cannot tell a format"),
        ("missing/out.png", "no folder"),
        ("folder.png", "is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_early(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(GradflowError, match=says):
        check_writable(name)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs Linux's /proc")
def test_a_folder_that_cannot_be_written_is_refused_even_to_root() -> None:
    with pytest.raises(GradflowError, match="cannot write"):
        check_writable("/proc/out.png")


def test_a_users_picture_of_the_default_name_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("relu.png").write_bytes(b"my holiday")
    with pytest.raises(GradflowError, match="did not make it"):
        default_figure("relu")
    report.save(CHAIN, "mine.png")
    assert default_figure("mine") == Path("mine.png")


def test_a_result_prints_itself_with_rich_and_shows_itself_in_a_notebook() -> None:
    console = Console(width=80, color_system=None, file=io.StringIO())
    console.print(CHAIN)
    assert "φ′(z₁)" in console.file.getvalue()  # type: ignore[attr-defined]
    assert CHAIN._repr_html_().startswith("<iframe")


def test_results_need_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, gradflow.results.diagnosis, gradflow.results.clipping;"
        "import gradflow.diagnosis.checks;"
        "print([m for m in ('numpy','torch','matplotlib','rich','typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("view", ["text", "markdown", "html"])
def test_every_view_says_how_far_numbers_are_to_be_believed(view: str) -> None:
    costs = {name: Cost(1.0, 1.0, 1.25, 25) for name in ACTIVATIONS}
    result = catalogue(costs)
    assert result.note is not None
    seen = {"text": lambda: text(result, 400), "markdown": lambda: markdown(result)}
    words = seen[view]() if view in seen else page(result)
    assert "medians of 25 rounds on one thread" in words
