"""The page: what stands where. The template is `assets/page.html.j2`."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gradflow.report import escape
from gradflow.report.console import further_tables, shown_records
from gradflow.report.formatting import cell
from gradflow.report.html import prose
from gradflow.report.html.charts import Chart, HeatMap, at_fault, charts, of_models
from gradflow.report.html.spec import spec, thinned
from gradflow.report.html.tables import Table, table
from gradflow.report.writers import SOFTWARE
from gradflow.results.base import Column, Finding, Result
from gradflow.results.explain import Explanation
from gradflow.results.watching import WatchResult

_ASSETS = resources.files("gradflow.report.html") / "assets"
_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
#: Numbers of a result that stand beneath its title, where it has them: how they are called.
_FACTS = {
    "rate": ("factor per layer back", ".3g"),
    "predicted_rate": ("theory’s factor", ".3g"),
    "step_rate": ("factor per time step back", ".3g"),
    "spectral_radius": ("spectral radius", ".3g"),
    "loss": ("loss", ".4g"),
    "activation": ("activation", ""),
    "suggested_loss_scale": ("loss scale", "g"),
    "seen": ("steps", "d"),
    "clip_rate": ("steps clipped", ".0%"),
    "optimizer": ("optimizer", ""),
    "suggested": ("learning rate", ".3g"),
    "largest_stable": ("stable up to", ".3g"),
    "regime": ("regime", ""),
    "fixed_point": ("fixed point q*", ".4g"),
    "chi_fixed_point": ("χ there", ".4g"),
    "depth_scale": ("depth scale ξ", ".4g"),
    "critical_weight_variance": ("critical σ_w²", ".6g"),
    "gradient": ("gradient", ".10g"),
    "updated_bias": ("updated bias", ".10g"),
}
_TONES = {"healthy": "ok", "unjudged": "warning"}


@dataclass(frozen=True)
class Fact:
    """A name and what it is."""

    label: str
    text: str


@dataclass(frozen=True)
class Found:
    """A finding as it is shown; `text` is the page of its code, where that stands first."""

    code: str
    severity: str
    layers: str
    message: str
    advice: str
    text: Markup | None
    repeated: bool


@dataclass(frozen=True)
class Drawn:
    """A chart: its specification as JSON, and what is said beneath it."""

    title: str
    spec: Markup
    notes: str
    link: str


@dataclass(frozen=True)
class Lines:
    """A remedy's lines of torch."""

    name: str
    torch: str


@dataclass(frozen=True)
class Section:
    """A whole result, or one of the models that a program trains."""

    title: str
    findings: tuple[Found, ...]
    charts: tuple[Drawn, ...] = ()
    tables: tuple[Table, ...] = ()
    remedies: Table | None = None
    lines: tuple[Lines, ...] = ()
    note: str = ""


def write(result: Result, path: Path) -> None:
    """Write the page of `result` to `path`."""
    path.write_bytes(page(result).encode("utf-8", "backslashreplace"))


def frame(result: Result) -> str:
    """Return the page of `result` in a frame of its own, for a notebook."""
    inside = html.escape(page(result), quote=True)
    look = "width:100%;height:44rem;border:1px solid #8885;border-radius:8px"
    return f'<iframe title="gradflow {result.command}" style="{look}" srcdoc="{inside}"></iframe>'


def page(result: Result) -> str:
    """Return `result` as one HTML document."""
    sections = tuple(_sections(result))
    verdict = getattr(result, "verdict", "")
    return (
        _template()
        .render(
            generator=SOFTWARE,
            version=result.meta.version,
            command=result.command,
            title=_shown(result.title),
            verdict=verdict,
            tone=_tone(result, verdict),
            subject=_subject(result),
            facts=tuple(_facts(result)),
            page_text=prose.prose(result.text) if isinstance(result, Explanation) else None,
            sections=sections,
            typed=_shown(result.meta.command or ""),
            environment=tuple(_environment(result)),
            config=tuple(_config(result)),
            drawn=any(section.charts for section in sections),
            style=_asset("page.css"),
            scripts=tuple(map(_asset, _SCRIPTS)),
            behaviour=_asset("page.js"),
        )
        .lstrip()
    )


@functools.cache
def _template() -> jinja2.Template:
    source = (_ASSETS / "page.html.j2").read_text(encoding="utf-8")
    rules = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return rules.from_string(source)


@functools.cache
def _asset(name: str) -> Markup:
    """A file of ours: the only text, beside JSON and findings' pages, that is not escaped."""
    return Markup((_ASSETS / name).read_text(encoding="utf-8"))


def _shown(text: str) -> str:
    return escape.visible(text, keep="\n")


def _tone(result: Result, verdict: str) -> str:
    """Of which severity the whole is."""
    if verdict:
        return _TONES.get(verdict, "error")
    severities = {finding.severity for finding in result.findings}
    return next((s for s in ("error", "warning") if s in severities), "info")


def _subject(result: Result) -> str:
    """What was looked at, in a line."""
    config = result.meta.config
    own = [name for name in ("model", "script") if config.get(name)]
    named = own or [name for name in ("arch", "depth", "width") if config.get(name)]
    return escape.visible(", ".join(f"{name} {config[name]}" for name in named))


def _facts(result: Result) -> Iterator[Fact]:
    for name, (label, form) in _FACTS.items():
        value = getattr(result, name, None)
        if value in (None, ""):
            continue
        column = Column(label, form)
        said = cell(value, column)
        low, high = (getattr(result, f"{name}_{end}", None) for end in ("low", "high"))
        if low is not None and high is not None:
            said += f" ({cell(low, column)} to {cell(high, column)})"
        yield Fact(label, said)


def _environment(result: Result) -> Iterator[Fact]:
    meta = result.meta
    yield Fact("gradflow", meta.version)
    seeds = ", ".join(map(str, meta.seeds[:8])) + (" …" if len(meta.seeds) > 8 else "")
    given = {
        "torch": meta.torch,
        "device": meta.device,
        "dtype": meta.dtype,
        "seed" if len(meta.seeds) == 1 else f"{len(meta.seeds)} seeds": seeds,
        "threads": meta.threads,
    }
    for label, value in given.items():
        if value not in (None, ""):
            yield Fact(label, escape.visible(str(value)))


def _config(result: Result) -> Iterator[Fact]:
    for name, value in result.meta.config.items():
        if value not in (None, "", (), [], {}):
            yield Fact(escape.visible(name), cell(value, Column(name)))


def _sections(result: Result) -> Iterator[Section]:
    if isinstance(result, WatchResult) and len(result.models) > 1:
        yield from _models(result)
    else:
        yield _whole(result)


def _models(result: WatchResult) -> Iterator[Section]:
    """A section for each model that a program trains, and what is of the program itself."""
    told: set[str] = set()
    for model, drawn in zip(result.models, of_models(result), strict=True):
        name = f"{model.name} ({model.optimizer})" if model.optimizer else model.name
        yield Section(
            _shown(f"{name}: {model.title}"),
            tuple(_found(model.findings, told)),
            _charts(drawn, model.name),
            _tables([("Table", model.rows)], at_fault(model.findings)),
        )
    if rest := result.of_the_program:
        yield Section("The program", tuple(_found(rest, told)))


def _whole(result: Result) -> Section:
    remedies = getattr(result, "remedies", ())
    further = [(t, rows) for t, rows in further_tables(result) if rows is not remedies]
    heading = next((t for t, rows in further_tables(result) if rows is remedies), "")
    main = () if isinstance(result, Explanation) else shown_records(result)
    return Section(
        "",
        tuple(_found(result.findings, set())),
        _charts(charts(result), "whole"),
        _tables([("Table", main), *further], at_fault(result.findings)),
        table(heading, remedies, without=("torch",)) if remedies else None,
        tuple(_torch(result)),
        _shown(getattr(result, "trial_note", None) or getattr(result, "note", None) or ""),
    )


def _torch(result: Result) -> Iterator[Lines]:
    """The lines of the best remedies, or of the one that there is."""
    for row in getattr(result, "remedies", ())[:3]:
        if row.torch:
            yield Lines(_shown(row.remedy), _shown(row.torch))
    if lines := getattr(result, "torch", ""):
        yield Lines("the repair", _shown(lines))


def _tables(
    given: Sequence[tuple[str, Sequence[Any]]], faults: frozenset[int]
) -> tuple[Table, ...]:
    return tuple(table(title, rows, faults) for title, rows in given if rows)


def _found(findings: Sequence[Finding], told: set[str]) -> Iterator[Found]:
    """The findings, the gravest first; the page of a code stands beneath its first one."""
    rank = {"error": 0, "warning": 1, "info": 2}
    for finding in sorted(findings, key=lambda f: rank.get(f.severity, 3)):
        text = None if finding.code in told else prose.explained(finding.code)
        yield Found(
            escape.visible(finding.code),
            finding.severity,
            _ranges(finding.layers),
            _shown(finding.message),
            _shown(finding.advice),
            text,
            finding.code in told,
        )
        if text:
            told.add(finding.code)


def _ranges(layers: Sequence[int]) -> str:
    """Layers in words: ``layers 1–4, 7``."""
    ordered = sorted(set(layers))
    runs = [
        [layer for _, layer in run]
        for _, run in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])
    ]
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    shown = ", ".join(words[:12]) + (" …" if len(words) > 12 else "")
    return f"layer{'' if len(ordered) == 1 else 's'} {shown}" if ordered else ""


def _charts(given: Sequence[Chart | HeatMap], link: str) -> tuple[Drawn, ...]:
    made = [(chart, spec(chart)) for chart in given]
    return tuple(
        Drawn(chart.title, _json(found), _notes(chart), escape.visible(link))
        for chart, found in made
        if found is not None
    )


def _json(value: Any) -> Markup:
    """JSON as it may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(escape.script(text))


def _notes(chart: Chart | HeatMap) -> str:
    """What is to be known of a chart, in a line."""
    _, every = thinned(chart)
    left_out = f"One row in {every} of {len(chart.records):,} is drawn." if every > 1 else ""
    if isinstance(chart, HeatMap):
        return f"Hover a square: its numbers. Dots: healthy; triangles: not finite. {left_out}"
    said = ["Hover a point: its numbers."]
    fields = {name for q in chart.quantities for name in (q.beside, q.low)}
    known = {f for f in fields if any(getattr(r, f, None) is not None for r in chart.records if f)}
    if chart.beside and (chart.history or known & {q.beside for q in chart.quantities}):
        said.append(f"Dashed: {chart.beside}.")
    if chart.band and known & {q.low for q in chart.quantities}:
        said.append(f"Band: {chart.band}.")
    if chart.faults:
        said.append("Shaded: layers at fault.")
    return " ".join([*said, "Triangles: 0 or not finite.", left_out]).strip()
