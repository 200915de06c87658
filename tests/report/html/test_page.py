"""The report as a file: what is in it, and that nothing foreign gets out of its place."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
import time
from pathlib import Path

import pytest
from support.figure_results import ALL, diagnosed, named_watch, transformer

from gradflow import report
from gradflow.findings.codes import CODES
from gradflow.findings.explain import every_code, explain
from gradflow.report import escape
from gradflow.report.html import charts, frame, page, spec
from gradflow.report.html.tables import table
from gradflow.results.base import Finding, Result, RunMeta
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow
from gradflow.results.watching import WatchedModel

FOREIGN = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m\u202e"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Elements(html.parser.HTMLParser):
    """The elements of a page, the text of each kind, and whether they are properly nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [v or "" for name, v in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(" ".join(words for tag, words in self.words if tag != "script").split())


def specs(text: str) -> list[dict[str, object]]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    return [json.loads(one) for one in found]


def broken_by(text: str) -> DiagnosisResult:
    """A result all of whose words are foreign."""
    base = diagnosed(-9.0, -6.0, -3.0)
    rows = tuple(dataclasses.replace(row, name=text) for row in base.records)
    finding = Finding("vanishing", "error", (1, 2), text, text)
    own = Finding(text, "warning", (), text, text)
    remedy = RemedyRow(text, "healthy", 1.0, 0.1, options=text, torch=text)
    meta = RunMeta(command=text, device=text, config={text: text, "model": text})
    return dataclasses.replace(
        base, records=rows, findings=(finding, own), remedies=(remedy,), meta=meta, trial_note=text
    )


@pytest.mark.parametrize("name", ALL)
def test_every_result_has_a_report_that_loads_nothing(name: str) -> None:
    text = page(ALL[name])
    elements = Elements(text)
    assert set(elements.addresses) <= {"data:,", *(a for a in elements.addresses if a[0] == "#")}
    assert elements.names.count("h1") == 1
    assert len(text.encode()) < 5e6
    for drawn in specs(text):
        assert drawn["width"] == "container"


def test_ten_thousand_layers_stay_within_size_and_time() -> None:
    start = time.process_time()
    text = page(ALL["diagnose deep"])
    assert time.process_time() - start < 3
    assert len(text.encode()) < 5e6


def test_equal_results_give_equal_pages() -> None:
    assert page(ALL["watch"]) == page(dataclasses.replace(ALL["watch"]))


def test_what_is_foreign_stays_text() -> None:
    text = page(broken_by(FOREIGN))
    elements = Elements(text)
    own = Elements(page(broken_by("harmless")))
    assert elements.names == own.names  # no element more
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert elements.text.count("<script>alert(1)") > 10
    (drawn,) = specs(text)
    assert "onerror" in json.dumps(drawn["data"])


def test_foreign_text_is_in_data_and_never_in_an_expression() -> None:
    result = broken_by("datum.pwned")
    (chart,) = charts.charts(result)
    made = spec.spec(chart)
    assert made is not None
    values = [made.pop("data")]
    values += [p.pop("value") for p in made["params"] if p["name"] == "names"]
    assert "pwned" in json.dumps(values)
    assert "pwned" not in json.dumps(made)


def test_a_watched_layer_has_its_number_at_every_step() -> None:
    result = named_watch(["a", "b"], steps=5)
    (layers, _) = specs(page(result))
    given = {p["name"]: p.get("value") for p in layers["params"]}  # type: ignore[attr-defined]
    assert given["steps"] == [1, 2, 3, 4, 5]
    first = given["labels"].index("gradient ‖∂C/∂W‖")
    assert given["past"][first] == [[0.001, 0.002]] * 5


def test_a_long_watch_is_thinned_and_keeps_its_last_step() -> None:
    result = named_watch(transformer(50), steps=200)
    text = page(result)
    (layers, _) = specs(text)
    given = {p["name"]: p.get("value") for p in layers["params"]}  # type: ignore[attr-defined]
    assert given["steps"][0] == 1
    assert given["steps"][-1] == 200
    assert 10 < len(given["steps"]) < 200
    assert len(text.encode()) < 5e6


def test_findings_come_with_their_page_once_and_the_gravest_first() -> None:
    twice = [
        Finding("dead", "warning", (3,), "some", ""),
        Finding("dead", "error", (1,), "most", ""),
    ]
    result = dataclasses.replace(diagnosed(-1.0, -0.5), findings=tuple(twice))
    text = Elements(page(result)).text
    assert text.index("most") < text.index("some")
    assert text.count("What “dead” means, how it is measured, what to do") == 1


def test_the_page_of_every_code_reads_as_html() -> None:
    for code in CODES:
        elements = Elements(page(explain(code)))
        assert elements.names.count("h2") == 7 + 1  # its sections, and how it was made


def test_the_list_of_codes_has_a_row_for_each() -> None:
    assert Elements(page(every_code())).names.count("tr") == 1 + len(CODES)


def test_a_table_keeps_its_numbers_for_sorting_and_marks_faults() -> None:
    result = diagnosed(-9.0, float("nan"), float("-inf"), None)
    shown = table("t", result.records, faults={2})
    place = [h.field for h in shown.headings].index("delta_log10_rms")
    assert [line.cells[place].key for line in shown.lines] == ["-9.0", "", "-Infinity", ""]
    assert [line.fault for line in shown.lines] == [False, True, False, False]
    assert shown.more


def test_a_notebook_shows_a_result_once() -> None:
    shown = ALL["diagnose"]._repr_mimebundle_()
    assert set(shown) == {"text/html", "text/plain"}
    assert shown["text/html"] == frame(ALL["diagnose"]) == ALL["diagnose"]._repr_html_()
    assert shown["text/plain"].startswith(ALL["diagnose"].title)
    (outer,) = Elements(shown["text/html"]).names
    assert outer == "iframe"


def test_a_notebook_gets_no_table_from_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook rich shows what it prints; a result's text is asked for, not shown."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("shown twice"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = str(ALL["chain"])
    assert text.startswith(ALL["chain"].title)
    assert "\x1b" not in text


def test_a_figure_shows_itself_in_a_notebook() -> None:
    figure = ALL["chain"].figure()
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_json_in_a_script_means_the_same() -> None:
    value = {"</script>": "<!-- & \u2028"}
    text = escape.script(json.dumps(value, ensure_ascii=False))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_the_command_line_says_how_a_report_was_made(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = run("eval", "relu", "--at", "1", "-o", "a b.html", "-o", "out.sarif")
    assert done.exit_code == 0, done.stderr
    text = Elements(Path("a b.html").read_text(encoding="utf-8")).text
    assert "gradflow eval relu --at 1 -o 'a b.html' -o out.sarif" in text


def test_views_of_another_command_get_a_page_without_a_chart() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(Result):
        pass

    assert charts.charts(Other()) == ()
    assert report.notebook(Other()).startswith("<iframe")


def test_each_model_of_a_program_has_its_own_history() -> None:
    one = named_watch(["a", "b"], steps=3)
    other = named_watch(["c"], steps=2)
    models = tuple(
        WatchedModel(
            name=name,
            verdict="healthy",
            optimizer="Adam",
            title=name,
            seen=3,
            rows=result.records,
            steps=result.steps,
        )
        for name, result in (("first", one), ("second", other))
    )
    later = tuple(dataclasses.replace(row, index=3) for row in other.history)
    whole = dataclasses.replace(one, models=models, history=(*one.history, *later))
    found = specs(page(whole))[::2]  # the charts over layers
    given = [{p["name"]: p.get("value") for p in drawn["params"]} for drawn in found]  # type: ignore[attr-defined]
    assert [values["steps"] for values in given] == [[1, 2, 3], [1, 2]]
    assert [values["past"][0] for values in given] == [[[0.001, 0.002]] * 3, [[0.001]] * 2]
