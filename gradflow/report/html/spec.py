"""A chart as a Vega-Lite specification.

Which quantity is drawn, on which scale and at which step are parameters of the specification: Vega
makes the controls of them and draws again. Foreign text is in its data alone, never in an
expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from gradflow.report.escape import visible
from gradflow.report.formatting import cell
from gradflow.report.html.charts import Chart, HeatMap, Quantity
from gradflow.results.base import Column
from gradflow.results.names import all_numbered, shortened
from gradflow.results.nonfinite import encoded

Spec = dict[str, Any]
_Tips = list[tuple[str, Column]]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_INK, _SOFT, _LINE, _FAULT = "var(--ink)", "var(--soft)", "var(--rule)", "var(--fault)"
_ACCENT, _ALARM = "var(--accent)", "var(--alarm)"
#: Okabe & Ito (2008): clear of each other for every eye, on white and on black.
_COLOURS = ("#2f8fd0", "#d9681d", "#0f9f78", "#c067a5", "#b58900", "#6b7fd7", "#8a8a8a")
#: Of all numbers that a chart holds, about; and of the columns that hovering shows.
_MOST_NUMBERS, _MOST_TIPS = 40_000, 14
#: Names of layers for which an axis has room, their letters, and how many fit upright.
_MOST_NAMES, _LETTERS, _SHORT = 24, 18, 3
#: The axis is of powers of ten where that is asked for and the quantity has a logarithm.
_LOGGED = "scale == 'logarithmic' && (kinds[quantity] == 'log10' || kinds[quantity] == 'size')"
#: Over a few decades the marks are at 1, 2 and 5 of each, over more at whole ones; else where the
#: axis itself puts them.
_EVERY = "ceil(span(domain('y')) / 7)"
_WHOLE = f"sequence({_EVERY} * ceil(domain('y')[0] / {_EVERY}), domain('y')[1] + 1e-9, {_EVERY})"
_DECADES = f"!logged || span(domain('y')) <= 0.3 ? null : span(domain('y')) <= 3 ? marks : {_WHOLE}"
_MARKS = [round(k + math.log10(n), 9) for k in range(-45, 45) for n in (1, 2, 5)]
_CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "mark": {"aria": False},  # a reader of screens has the table
    "axis": {
        "labelColor": _SOFT,
        "titleColor": _SOFT,
        "gridColor": _LINE,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelOverlap": True,
    },
    "title": {"color": _INK, "fontSize": 13, "fontWeight": 600, "anchor": "start", "offset": 12},
    "legend": {
        "labelColor": _INK,
        "titleColor": _SOFT,
        "labelFontSize": 12,
        "orient": "bottom",
        "direction": "horizontal",
        "columns": 4,
        "labelLimit": 220,
        "symbolStrokeWidth": 3,
    },
}


def spec(chart: Chart | HeatMap) -> Spec | None:
    """Return the specification of a chart, or None where there is nothing to draw."""
    known = [q for q in chart.quantities if _known(chart, q)]
    if not known:
        return None
    made = _map(chart, known) if isinstance(chart, HeatMap) else _lines(chart, known)
    return {"$schema": _SCHEMA, "config": _CONFIG, "width": "container", **made}


def thinned(chart: Chart | HeatMap) -> tuple[Sequence[int], int]:
    """Return the places of the rows that are drawn, and every which of them that is."""
    count = len(chart.records)
    fields = len(chart.quantities) + len(_tips(chart)) if count else 1
    every = max(1, math.ceil(count * fields / _MOST_NUMBERS))
    places = list(range(0, count, every))
    return (places if not count or places[-1] == count - 1 else [*places, count - 1]), every


def _known(chart: Chart | HeatMap, quantity: Quantity) -> bool:
    return any(getattr(row, quantity.field, None) is not None for row in chart.records)


# -- lines over layers, steps, epochs ---------------------------------------------------------


def _lines(chart: Chart, known: Sequence[Quantity]) -> Spec:
    places, _ = thinned(chart)
    tips = _tips(chart)
    values = [_point(chart, known, place, tips) for place in places]
    return {
        "height": 320,
        "description": f"{chart.title}; the table beneath holds the same numbers.",
        "params": list(_params(chart, known)),
        "data": {"values": values},
        "transform": [{"calculate": _drawn(_raw(chart)), "as": "y"}, *_beside_transforms(chart)],
        "title": {"text": {"expr": _heading(chart)}},
        "layer": list(_layers(chart, known)),
    }


def _point(chart: Chart, known: Sequence[Quantity], place: int, tips: _Tips) -> Spec:
    """The numbers of one row, and what hovering shows of it."""
    row = chart.records[place]
    point: Spec = {"i": place, "x": _plain(getattr(row, chart.x))}
    if chart.series:
        point["s"] = visible(chart.series[place])
    if chart.apart:
        point["d"] = visible(chart.apart[place])
    for n, quantity in enumerate(known):
        for letter, name in _fields(quantity):
            point[f"{letter}{n}"] = _plain(getattr(row, name, None))
    return point | _told(row, tips)


def _told(row: Any, tips: _Tips) -> Spec:
    """What hovering shows of a row."""
    return {f"t{n}": cell(getattr(row, name), column) for n, (name, column) in enumerate(tips)}


def _fields(quantity: Quantity) -> Iterator[tuple[str, str]]:
    named = zip("vlhp", (quantity.field, quantity.low, quantity.high, quantity.beside), strict=True)
    return ((letter, name) for letter, name in named if name)


def _plain(value: Any) -> Any:
    """A number with the digits that a chart shows; what is not finite in words."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.5g}")
    return visible(value) if isinstance(value, str) else encoded(value)


def _tips(chart: Chart | HeatMap) -> _Tips:
    """The columns that hovering shows: the most important ones that say something."""
    columns = type(chart.records[0]).columns().items()
    used = [
        (name, column)
        for name, column in columns
        if any(getattr(row, name) not in (None, (), {}, "") for row in chart.records)
        and not isinstance(getattr(chart.records[0], name), dict)
    ]
    rank = {name: 99 if c.priority is None else c.priority for name, c in used}
    kept = sorted(rank, key=rank.__getitem__)[:_MOST_TIPS]
    return [(name, column) for name, column in used if name in kept]


def _tooltip(chart: Chart | HeatMap) -> list[Spec]:
    tips = [
        {"field": f"t{n}", "type": "nominal", "title": column.label}
        for n, (_, column) in enumerate(_tips(chart))
    ]
    now = {"field": "now", "type": "nominal", "title": "at this step"}
    return [*tips, now] if isinstance(chart, Chart) and chart.history else tips


def _params(chart: Chart, known: Sequence[Quantity]) -> Iterator[Spec]:
    """The controls, and what expressions ask for."""
    yield {"name": "kinds", "value": [q.kind for q in known]}
    yield {"name": "labels", "value": [q.label for q in known]}
    yield _choice("quantity", "Quantity", [q.label for q in known])
    logarithms = any(q.kind in ("log10", "size") for q in known)
    scale: Spec = {"name": "scale", "value": "linear" if chart.linear else "logarithmic"}
    if logarithms:
        options = ["logarithmic", "linear"]
        scale["bind"] = {"input": "radio", "options": options, "name": "Scale"}
    yield scale
    yield {"name": "logged", "expr": _LOGGED}
    yield {"name": "marks", "value": _MARKS}
    yield {"name": "names", "value": _axis_names(chart)}
    if _stepped(chart):
        yield {"name": "marker", "value": None}
    if chart.history:
        steps, values = _history(chart, known)
        yield {"name": "steps", "value": steps}
        yield {"name": "past", "value": values}
        yield {"name": "ends", "value": [_ends(past) for past in values]}
        many = len(steps)
        slider = {"input": "range", "min": 1, "max": many, "step": 1, "name": "Recorded step"}
        yield {"name": "at", "value": many, "bind": slider}


def _choice(name: str, label: str, words: Sequence[str]) -> Spec:
    """A list to choose from, whose value is the place in it."""
    param: Spec = {"name": name, "value": 0}
    if len(words) > 1:
        options = list(range(len(words)))
        param["bind"] = {"input": "select", "options": options, "labels": words, "name": label}
    return param


def _history(chart: Chart, known: Sequence[Quantity]) -> tuple[list[int], list[Any]]:
    """The steps that are shown, and of each quantity a list of the layers' values at each."""
    assert chart.history is not None
    at: dict[int, dict[int, Any]] = {}
    for row in chart.history.records:
        at.setdefault(row.step, {})[row.index] = row
    size = max(1, len(chart.records) * len(known))
    every = max(1, math.ceil(len(at) * size / (5 * _MOST_NUMBERS)))
    steps = sorted(at)
    steps = [*steps[:-1:every], steps[-1]]
    layers = [chart.history.before + row.index for row in chart.records]
    values = [
        [[_plain(getattr(at[step].get(i), q.field, None)) for i in layers] for step in steps]
        for q in known
    ]
    return steps, values


def _ends(past: Sequence[Sequence[Any]]) -> list[float]:
    """The smallest and the largest number of all steps, so that the axis stays where it is."""
    known = [v for values in past for v in values if isinstance(v, int | float)]
    return [min(known), max(known)] if known else []


def _axis_names(chart: Chart) -> list[str]:
    rows = chart.records
    if not chart.named or len(rows) > _MOST_NAMES or all_numbered(rows):
        return []
    return shortened([visible(row.name) for row in rows], _LETTERS)


def _raw(chart: Chart) -> str:
    return "past[quantity][at - 1][datum.i]" if chart.history else "datum['v' + quantity]"


def _drawn(value: str) -> str:
    """The expression of a value as it is drawn on either scale; null for what cannot be."""
    return (
        f"!isNumber({value}) ? null : kinds[quantity] == 'log10' ? "
        f"(logged ? {value} : pow(10, {value})) : logged ? "
        f"({value} > 0 ? log({value}) / LN10 : null) : {value}"
    )


def _lost(value: str) -> str:
    """Whether a value was measured and has no place on the scale."""
    return f"isValid({value}) && !(isValid(datum.y) && isFinite(datum.y))"


def _heading(chart: Chart) -> str:
    words = "labels[quantity]"
    return f"{words} + ', step ' + steps[at - 1]" if chart.history else words


def _beside_transforms(chart: Chart) -> list[Spec]:
    """What a chart of layers calculates beside its line: band, dashed line, the value in words."""
    beside = "datum['p' + quantity]" if not chart.history else "datum['v' + quantity]"
    found = [{"calculate": _drawn(beside), "as": "p"}] if chart.beside else []
    if chart.band:
        found += [
            {"calculate": _drawn("datum['l' + quantity]"), "as": "l"},
            {"calculate": _drawn("datum['h' + quantity]"), "as": "h"},
        ]
    if chart.history:
        raw = _raw(chart)
        words = f"isNumber({raw}) ? format({raw}, '.3~g') : isValid({raw}) ? {raw} : '–'"
        found.append({"calculate": words, "as": "now"})
    return found


def _finite(name: str) -> Spec:
    return {"filter": f"isValid(datum.{name}) && isFinite(datum.{name})"}


def _layers(chart: Chart, known: Sequence[Quantity]) -> Iterator[Spec]:
    """The marks, from the back to the front."""
    x = _x(chart)
    y = {"field": "y", "type": "quantitative", "axis": _y_axis(), "scale": {"zero": False}}
    colour = _colour(chart)
    if chart.faults:
        yield _faults(chart)
    if _stepped(chart):
        yield _marker()
    if chart.history:
        yield _ends_of_axis(y)
    if _banded(chart, known):
        yield {
            "transform": [_finite("l"), _finite("h")],
            "mark": _band_mark(chart),
            "encoding": {"x": x, "y": y | {"field": "l"}, "y2": {"field": "h"}},
        }
    if chart.x_kind == "name":
        bar = {"type": "bar", "color": _ACCENT, "cornerRadiusEnd": 2, "width": {"band": 0.6}}
        dots: Spec = {"type": "point", "filled": True, "size": 90, "color": _ACCENT}
        yield _points(chart, x, y, dots if any(q.kind == "size" for q in known) else bar)
    else:
        line = {"type": "line", "strokeWidth": 2, "color": _ACCENT, "interpolate": "linear"}
        detail = {"detail": {"field": "d", "type": "nominal"}} if chart.apart else {}
        yield {
            "transform": [_finite("y")],
            "mark": line,
            "encoding": {"x": x, "y": y, **colour, **detail},
        }
        if chart.beside:
            dashed = {"type": "line", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": _SOFT}
            yield {
                "transform": [_finite("p")],
                "mark": dashed,
                "encoding": {"x": x, "y": y | {"field": "p"}},
            }
        yield _points(chart, x, y, {"type": "point", "filled": True, "color": _ACCENT}, colour)
    yield _off_scale(chart, x)


def _points(chart: Chart, x: Spec, y: Spec, mark: Spec, colour: Spec | None = None) -> Spec:
    """The marks that one hovers over, the nearest of which answers."""
    hover = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    if mark["type"] == "bar":
        hover["nearest"] = False
    small = 30 if len(chart.records) <= 200 else 4
    size = {"condition": {"param": "hover", "empty": False, "value": 140}, "value": small}
    sized = {"size": size} if mark["type"] == "point" and "size" not in mark else {}
    return {
        "params": [{"name": "hover", "select": hover}],
        "transform": [_finite("y")],
        "mark": mark,
        "encoding": {"x": x, "y": y, "tooltip": _tooltip(chart), **sized, **(colour or {})},
    }


def _band_mark(chart: Chart) -> Spec:
    if chart.x_kind == "name":
        return {"type": "rule", "color": _ACCENT, "strokeWidth": 2, "opacity": 0.6}
    return {"type": "area", "color": _ACCENT, "opacity": 0.18}


def _x(chart: Chart) -> Spec:
    axis: Spec = {"title": chart.x_label, "grid": False, "tickCount": 10}
    if chart.x_kind == "name":
        axis |= {"labelAngle": -40, "labelLimit": 120, "labelOverlap": False}
        return {"field": "x", "type": "nominal", "sort": None, "axis": axis}
    scale: Spec = {"nice": False}
    if chart.x_kind == "log":
        scale["type"] = "log"
    else:
        scale["zero"] = False
    if chart.x_kind == "log":
        axis["format"] = ".1~g"
    if chart.x_kind == "count":
        ends = [getattr(chart.records[0], chart.x), getattr(chart.records[-1], chart.x)]
        scale["domain"] = [ends[0] - 0.5, ends[1] + 0.5] if chart.named else ends
        axis |= {"tickMinStep": 1, "format": "d"}
        if len(set(ends)) == 1:
            scale["domain"] = [ends[0] - 0.5, ends[0] + 0.5]
    if names := _axis_names(chart):
        axis |= {
            "values": [row.index for row in chart.records],
            "labelExpr": f"names[datum.value - {chart.records[0].index}]",
            "labelAngle": -40 if max(map(len, names)) > _SHORT else 0,
            "labelLimit": 150,
        }
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": axis}


def _y_axis() -> Spec:
    """An axis of powers of ten, of per cent or of numbers, as the quantity and the scale ask."""
    power = "'10' + " + _superscript("format(datum.value, 'd')")
    whole = "datum.value == round(datum.value) && abs(datum.value) > 3"
    log = f"{whole} ? {power} : format(pow(10, datum.value), '.3~g')"
    number = "kinds[quantity] == 'share' ? format(datum.value, '.0~%') : format(datum.value, '~g')"
    return {
        "title": None,
        "labelExpr": f"logged ? ({log}) : ({number})",
        "tickCount": 7,
        "values": {"expr": _DECADES},
    }


def _superscript(text: str) -> str:
    for sign, raised in zip("0123456789−-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻", strict=True):
        text = f"replace({text}, /{sign}/g, '{raised}')"
    return text


def _colour(chart: Chart) -> Spec:
    if not chart.series:
        return {}
    names = list(dict.fromkeys(visible(name) for name in chart.series))
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
    scale = {"domain": names, "range": colours}
    legend = {"title": None} if len(names) <= 3 * len(_COLOURS) else None
    return {"color": {"field": "s", "type": "nominal", "scale": scale, "legend": legend}}


def _faults(chart: Chart) -> Spec:
    """Shade the layers at fault."""
    places = [{"a": i - 0.5, "b": i + 0.5} for i in sorted(chart.faults)]
    ends = {
        "x": {"field": "a", "type": "quantitative"},
        "x2": {"field": "b"},
        "y": {"value": 0},
        "y2": {"value": "height"},
    }
    return {
        "data": {"values": places},
        "mark": {"type": "rect", "color": _FAULT, "tooltip": None},
        "encoding": ends,
    }


def _banded(chart: Chart, known: Sequence[Quantity]) -> bool:
    fields = [q.low for q in known if q.low]
    return any(getattr(row, name) is not None for name in fields for row in chart.records)


def _stepped(chart: Chart) -> bool:
    """Whether the rows are steps, at one of which another chart can stand."""
    return chart.x == "step"


def _ends_of_axis(y: Spec) -> Spec:
    """Points that nobody sees: the axis reaches over all steps, whichever is shown."""
    return {
        "data": {"values": [{"e": 0}, {"e": 1}]},
        "transform": [{"calculate": _drawn("ends[quantity][datum.e]"), "as": "y"}, _finite("y")],
        "mark": {"type": "point", "opacity": 0, "tooltip": None},
        "encoding": {"y": y},
    }


def _marker() -> Spec:
    """A line at the step that another chart shows, once it is told which."""
    return {
        "data": {"values": [{}]},
        "transform": [{"calculate": "marker", "as": "x"}, {"filter": "isValid(datum.x)"}],
        "mark": {"type": "rule", "color": _SOFT, "strokeDash": [2, 3]},
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }


def _off_scale(chart: Chart, x: Spec) -> Spec:
    """Mark at the bottom what was measured and is 0 or not finite there."""
    mark = {"type": "point", "shape": "triangle-down", "size": 70, "color": _ALARM, "filled": True}
    return {
        "transform": [{"filter": _lost(_raw(chart))}],
        "mark": mark,
        "encoding": {"x": x, "y": {"value": "height"}, "tooltip": _tooltip(chart)},
    }


# -- a grid of points -------------------------------------------------------------------------


def _map(chart: HeatMap, known: Sequence[Quantity]) -> Spec:
    places, _ = thinned(chart)
    names = list(dict.fromkeys(chart.maps))
    tips = _tips(chart)
    rows = [_square(chart, known, place, tips) for place in places]
    number = {"titleColor": _SOFT, "labelExpr": "format(datum.value, '~g')", "labelAngle": 0}
    down = len({getattr(row, chart.y) for row in chart.records})
    encoding: Spec = {
        "x": {"field": "x", "type": "ordinal", "axis": {"title": chart.x_label, **number}},
        "y": {
            "field": "y",
            "type": "ordinal",
            "sort": "descending",
            "axis": {"title": chart.y_label, **number},
        },
        "tooltip": _tooltip(chart),
    }
    params: list[Spec] = [
        {"name": "labels", "value": [q.label for q in known]},
        _choice("quantity", "Quantity", [q.label for q in known]),
    ]
    if names:
        params.append(_choice("map", "Map", names))
    return {
        "height": min(max(30 * down, 160), 520),
        "description": f"{chart.title}; the table beneath holds the same numbers.",
        "params": params,
        "data": {"values": rows},
        "transform": [
            {"calculate": "datum['v' + quantity]", "as": "c"},
            *([{"filter": "datum.m == map"}] if names else []),
        ],
        "title": {"text": {"expr": "labels[quantity]"}},
        "layer": [_squares(encoding), _marks(encoding)],
    }


def _square(chart: HeatMap, known: Sequence[Quantity], place: int, tips: _Tips) -> Spec:
    row = chart.records[place]
    square: Spec = {"x": _plain(getattr(row, chart.x)), "y": _plain(getattr(row, chart.y))}
    if chart.maps:
        square["m"] = list(dict.fromkeys(chart.maps)).index(chart.maps[place])
    square["ok"] = getattr(row, "verdict", "") == "healthy"
    for n, quantity in enumerate(known):
        square[f"v{n}"] = _plain(getattr(row, quantity.field))
    return square | _told(row, tips)


def _squares(encoding: Spec) -> Spec:
    colour = {
        "field": "c",
        "type": "quantitative",
        "scale": {"scheme": "blueorange", "domainMid": 0},
        "legend": {"title": None, "orient": "top", "gradientLength": 220},
    }
    hover = {"type": "point", "on": "pointerover", "clear": "pointerout"}
    stroke = {"condition": {"param": "hover", "empty": False, "value": _INK}, "value": None}
    return {
        "params": [{"name": "hover", "select": hover}],
        "transform": [{"filter": "isNumber(datum.c)"}],
        "mark": {"type": "rect", "strokeWidth": 2},
        "encoding": {**encoding, "color": colour, "stroke": stroke},
    }


def _marks(encoding: Spec) -> Spec:
    """Dots where a network is healthy, triangles where there is no number to colour."""
    shape = {"condition": {"test": "datum.ok", "value": "circle"}, "value": "triangle-down"}
    return {
        "transform": [{"filter": "datum.ok || !isNumber(datum.c)"}],
        "mark": {"type": "point", "filled": True, "color": "#111", "size": 26},
        "encoding": {**encoding, "shape": shape},
    }
