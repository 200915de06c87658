"""The report in a real browser, offline: what a reader sees, hovers, sorts and reaches."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.figure_results import ALL, diagnosed, named_watch, swept

from gradflow import report
from gradflow.results.base import Finding, Result, RunMeta
from gradflow.results.diagnosis import RemedyRow

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[browser]'")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.browser,
]

FOREIGN = "</script><script>document.title='pwned'</script>\"'\x1b[31m"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a result's report offline; at the end nothing was asked for, and nothing failed."""
    noted: list[str] = []
    contexts = []

    def open_page(result: Result, **look: Any) -> Any:
        path = report.save(result, tmp_path / "report.html")
        context = browser.new_context(offline=True, **look)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: noted.append(said.text))
        page.on("pageerror", lambda error: noted.append(str(error)))
        page.on("request", lambda asked: _note_request(asked.url, noted))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn=yes]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert noted == []


def _note_request(url: str, noted: list[str]) -> None:
    if not url.startswith(("file:", "data:")):
        noted.append(f"asked for {url}")


def full() -> Result:
    """A result with every part that a report can have."""
    base = diagnosed(-9.0, -6.0, -3.0, -0.5, predicted=-2.0)
    return dataclasses.replace(
        base,
        findings=(
            Finding("vanishing", "error", (1, 2), "δ shrinks", "other weights"),
            Finding("batch", "info", (), "few examples", "more of them"),
        ),
        remedies=(RemedyRow("ReLU", "healthy", 1.0, 0.1, 0.5, "adam", 0.01, torch="model = 1\n"),),
        trial_steps=5,
        untreated_loss=2.3,
        meta=RunMeta(command="gradflow diagnose", device="cpu", config={"depth": 4}),
    )


def hover(page: Any, place: int) -> str:
    """Put the pointer on a point of the first chart; return what is shown."""
    page.locator(".mark-symbol.role-mark path").nth(place).hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    said: str = page.inner_text("#vg-tooltip-element")
    return said


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_inner_texts()
    return found


def test_hovering_a_layer_shows_its_numbers(opened: Open) -> None:
    said = hover(opened(full()), 1)
    assert "hidden2" in said
    assert "-6.00" in said


def test_another_quantity_and_scale_are_drawn(opened: Open) -> None:
    page = opened(full())
    chart = page.locator(".plot").first
    assert "δ = ∂C/∂z" in chart.locator("svg").text_content()
    page.get_by_label("Quantity").first.select_option(label="update ‖Δw‖ / ‖w‖")
    assert "update ‖Δw‖ / ‖w‖" in chart.locator("svg").text_content()
    before = chart.locator("svg").inner_html()
    page.get_by_role("radio", name="linear").first.check()
    assert chart.locator("svg").inner_html() != before


def test_a_logarithmic_axis_is_marked_at_whole_powers_of_ten(opened: Open) -> None:
    page = opened(diagnosed(-4.2, -3.0, -1.5, -0.5))
    said = page.locator(".plot").first.locator(".role-axis-label text").all_text_contents()
    assert {"0.1", "0.01", "0.001"} < set(said)
    assert not any("3" in text and "." in text for text in said)  # 0.316, half a decade


def test_the_slider_shows_another_step_and_marks_it_in_the_other_chart(opened: Open) -> None:
    page = opened(named_watch(["a", "b", "c"], steps=6))
    svg = page.locator(".plot").first.locator("svg")
    assert "step 6" in svg.text_content()
    mark = page.locator(".plot").nth(1).locator(".mark-rule.role-mark line")
    at = mark.get_attribute("transform")
    slider = page.get_by_label("Recorded step")
    slider.focus()
    page.keyboard.press("ArrowLeft")  # by keyboard alone
    page.wait_for_function("document.querySelector('.plot svg').textContent.includes('step 5')")
    assert mark.get_attribute("transform") != at


def test_a_click_on_a_heading_sorts_either_way_and_leaves_gaps_last(opened: Open) -> None:
    page = opened(diagnosed(-3.0, None, -9.0, float("-inf")))
    column = "tbody tr td:nth-child({})"
    heads = texts(page, "table >> nth=0 >> th")
    place = next(i for i, head in enumerate(heads, start=1) if "log₁₀ δ" in head)
    button = page.locator("th button").nth(place - 1)
    button.click()
    assert texts(page, column.format(place)) == ["-∞", "-9.00", "-3.00", "–"]
    assert page.locator("th[aria-sort=ascending]").count() == 1
    button.press("Enter")
    assert texts(page, column.format(place)) == ["-3.00", "-9.00", "-∞", "–"]


def test_a_square_of_a_sweep_shows_its_numbers(opened: Open) -> None:
    page = opened(swept())
    page.locator(".mark-rect.role-mark path").first.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "depth" in page.inner_text("#vg-tooltip-element")


def test_foreign_names_are_text(opened: Open) -> None:
    base = full()
    rows = tuple(dataclasses.replace(row, name=FOREIGN) for row in base.records)
    page = opened(dataclasses.replace(base, records=rows, meta=RunMeta(command=FOREIGN)))
    assert "document.title='pwned'" in hover(page, 1)
    assert "\\x1b[31m" in page.inner_text("tbody")
    assert "pwned" not in page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_and_the_button(opened: Open, scheme: str) -> None:
    page = opened(full(), color_scheme=scheme)
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.get_by_role("button", name="light / dark").click()
    assert page.evaluate(background) != before


def test_a_phone_shows_all_of_it_without_scrolling_sideways(opened: Open) -> None:
    page = opened(full(), viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_paper_shows_the_folded_pages_and_no_controls(opened: Open) -> None:
    paper = {"width": 794, "height": 1123}  # A4 at 96 dots per inch
    page = opened(full(), color_scheme="dark", viewport=paper)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("#theme").is_visible()
    assert not page.get_by_label("Quantity").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == paper["width"]
    white = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert white == "rgb(255, 255, 255)"


def test_every_control_is_reached_by_the_keyboard(opened: Open) -> None:
    page = opened(full())
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"BUTTON", "SUMMARY", "SELECT", "INPUT", "DIV", "PRE"} <= reached


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [("light", "diagnose"), ("dark", "diagnose"), ("light", "sweep"), ("dark", "watch")],
)
def test_it_meets_wcag_aa(opened: Open, scheme: str, kind: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(full() if kind == "diagnose" else ALL[kind], color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = axe.Axe().run(page, options={"runOnly": rules})
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found.response["violations"]] == []


@pytest.mark.parametrize("name", [n for n in ALL if n.startswith(("plot b", "diagnose b", "clip"))])
def test_what_is_odd_is_drawn_without_an_error(opened: Open, name: str) -> None:
    if ALL[name].records:
        assert opened(ALL[name]).locator(".plot svg").count() >= 1


def test_a_notebooks_frame_shows_the_same_page(browser: Any, tmp_path: Path) -> None:
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!DOCTYPE html><title>n</title>{full()._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    page.goto(outer.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator("html[data-drawn=yes]").wait_for(state="attached")
    assert inner.locator("h1").inner_text() == full().title
    page.close()


#: The pictures of docs/report.md: `REPORT_IMAGES=docs/images make browser` makes them again.
PICTURES = {
    "report-light": {"color_scheme": "light", "viewport": {"width": 1000, "height": 1320}},
    "report-dark": {"color_scheme": "dark", "viewport": {"width": 1000, "height": 1320}},
    "report-phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 1150}},
}


@pytest.fixture(scope="module")
def pictured() -> Result:
    import gradflow

    result = gradflow.diagnose(gradflow.NetworkConfig(depth=10, act="sigmoid", seeds=5))
    command = "gradflow diagnose --depth 10 --act sigmoid --seeds 5 -o report.html"
    return dataclasses.replace(result, meta=dataclasses.replace(result.meta, command=command))


@pytest.mark.skipif("REPORT_IMAGES" not in os.environ, reason="makes the pictures of the docs")
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(opened: Open, pictured: Result, name: str) -> None:
    page = opened(pictured, **PICTURES[name])
    if "phone" not in name:
        hover(page, 7)
    picture = Image.open(io.BytesIO(page.screenshot())).quantize(128)
    picture.save(Path(os.environ["REPORT_IMAGES"]) / f"{name}.png", optimize=True)
