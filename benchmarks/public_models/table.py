"""The rows as a table, and a line for each goal. Standard library only."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]

TOLERANCE = 1e-5
TIMES = 8  #: How many times as large the larger batch is: of most models, 32 examples.


def ran(row: Row) -> bool:
    """Return whether there is a diagnosis."""
    return row.get("ran") == "yes"


def equal(row: Row) -> bool:
    """Return whether every row of the diagnosis agrees with plain autograd."""
    return ran(row) and not row["rows_wrong"]


def unchanged(row: Row) -> bool:
    """Return whether the model is what it was."""
    return not row.get("unchanged")


def codes(row: Row, *severities: str) -> list[str]:
    """Return the findings' codes, of some severities."""
    found = [f["code"] for f in row.get("findings", []) if f["severity"] in severities]
    return list(dict.fromkeys(found))


def covered(row: Row) -> bool:
    """Return whether every trained entry has a row, or a finding says that some have none."""
    said = "uncovered" in codes(row, "error", "warning", "info")
    return ran(row) and (row["rows_covered"] == 1 or said)


def package(row: Row) -> str:
    """Return the package that a model is of."""
    home, _, model = row["name"].partition("/")
    return model.partition(".")[0] if home == "others" else home


def progress(row: Row) -> str:
    """Return one line on a row."""
    if "name" not in row:
        return f"left out: {row['left_out']} ({row['why']})"
    if "left_out" in row:
        return f"{row['name']}: left out ({row['left_out']})"
    if not ran(row):
        return f"{row['name']}: {row['ran'].splitlines()[0]}"
    if "fault" in row:
        return f"{row['name']}: {'named' if row['named'] else 'MISSED'} {row['loud']}"
    faults = [
        *(["GRADIENTS"] if not equal(row) else []),
        *(["CHANGED"] if not unchanged(row) else []),
        *([] if covered(row) else [f"covered {row['rows_covered']:.2%}"]),
    ]
    costs = [f"{row[k]:.1f} ×" for k in ("time_ratio", "memory_ratio") if k in row]
    return f"{row['name']}: {row['verdict']} {' '.join([*codes(row, 'error'), *costs, *faults])}"


_COLUMNS: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row["name"],
    "entries": lambda row: _count(row.get("parameters", 0)),
    "ran": lambda row: "yes" if ran(row) else "no",
    "differ": lambda row: _short(row, lambda r: f"{r['rows_worst']:.0e}"),
    "changed": lambda row: "" if unchanged(row) else "yes",
    "covered": lambda row: _short(row, lambda r: _share(r["rows_covered"])),
    "verdict": lambda row: row.get("verdict", ""),
    "findings": lambda row: " ".join(codes(row, "error", "warning")),
    "time ×": lambda row: _number(row.get("time_ratio")),
    "larger ×": lambda row: _number(row.get("batch_ratio")),
    "memory ×": lambda row: _number(row.get("memory_ratio")),
    "watch ×": lambda row: _number(row.get("watch_ratio")),
}

_BROKEN: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row["name"].partition("+")[0],
    "broken": lambda row: row["fault"],
    "intact learns to": lambda row: _best(row.get("intact")),
    "broken to": lambda row: _best(row.get("trained")),
    "named": lambda row: "yes" if row["named"] else "no",
    "findings": lambda row: " ".join(row.get("loud", [row["ran"].splitlines()[0]])),
}


def _short(row: Row, text: Callable[[Row], str]) -> str:
    return text(row) if ran(row) else ""


def _count(entries: int) -> str:
    return f"{entries / 1e6:.1f} M" if entries >= 1e6 else f"{entries / 1e3:.0f} k"


def _share(share: float) -> str:
    return f"{100 * share:.4g} %"


def _best(losses: Any) -> str:
    """The lower of the losses that two optimizers reach."""
    ends = [pair[1] for pair in (losses or {}).values() if isinstance(pair, list)]
    return f"{min(ends):.2f}" if ends else ""


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else ""


def page(rows: list[Row], *, markdown: bool = False) -> str:
    """Return both tables and the goals."""
    named = [row for row in rows if "name" in row and "left_out" not in row]
    models = [row for row in named if "fault" not in row]
    broken = [row for row in named if "fault" in row]
    parts = [
        _table(models, _COLUMNS, markdown=markdown),
        _table(broken, _BROKEN, markdown=markdown),
    ]
    parts += ["\n".join(goals(models, broken)), *_left_out(rows)]
    return "\n\n".join(part for part in parts if part)


def _left_out(rows: Iterable[Row]) -> list[str]:
    lines = [progress(row) for row in rows if "left_out" in row]
    return ["\n".join(lines)] if lines else []


def _table(rows: list[Row], columns: dict[str, Callable[[Row], str]], *, markdown: bool) -> str:
    if not rows:
        return ""
    cells = [[text(row) for text in columns.values()] for row in rows]
    kept = [i for i in range(len(columns)) if any(line[i] for line in cells)]
    lines = [[line[i] for i in kept] for line in [list(columns), *cells]]
    if markdown:
        lines.insert(1, ["---"] * len(kept))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def goals(models: list[Row], broken: list[Row]) -> list[str]:
    """Return a line for each goal: what was reached, and what is asked for."""
    done = [row for row in models if ran(row)]
    packages = {package(row) for row in done}
    lines = [
        f"{len(models)} models of {len(packages)} packages",
        _counted("ran", list(map(ran, models)), "98 %"),
        _counted("gradients equal to plain autograd's", list(map(equal, done)), "all"),
        _counted("unchanged", list(map(unchanged, models)), "all"),
        _counted(
            "every trained entry shown, or said to be missing", list(map(covered, done)), "all"
        ),
        _counted("false alarms", [bool(codes(row, "error")) for row in done], "at most 2 %"),
        _counted("broken variants named", [bool(row["named"]) for row in broken], "90 %"),
    ]
    rows = sum(row["rows_rows"] for row in done)
    wrong = sum(len(row["rows_wrong"]) for row in done)
    lines.append(f"gradient rows compared: {rows}, of which {wrong} differ by more than 1e-5")
    for name, words, asked in (
        ("time_ratio", "diagnose over a plain pass", "3"),
        ("batch_ratio", f"the same on a batch {TIMES} times as large", "3"),
        ("memory_ratio", "its peak memory over a plain pass's", "2"),
        ("watch_ratio", "a watched step over a plain one, from the 11th on", "1.15"),
        ("watch_first", "the first ten watched steps over plain ones", "–"),
    ):
        values = [row[name] for row in done if isinstance(row.get(name), float)]
        if values:
            lines.append(_spread(words, values, asked))
    return lines


def _counted(words: str, facts: list[bool], asked: str) -> str:
    share = sum(facts) / len(facts) if facts else 0.0
    return f"{words}: {sum(facts)} of {len(facts)}, {share:.1%} (asked for: {asked})"


def _spread(words: str, values: list[float], asked: str) -> str:
    median, low, high = statistics.median(values), min(values), max(values)
    return (
        f"{words}: median {median:.2f} of {len(values)}, from {low:.2f} to {high:.2f} "
        f"(asked for: median {asked})"
    )
