"""What a reader of a benchmark's table should know beside it. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gradflow.results.base import Finding
from gradflow.results.benchmark import BenchmarkRow, FlowRow, HistoryRow, labels, percent

_BEHIND = 0.02  # of accuracy: what is further from the best is worth a finding
_DEAD, _SATURATED = 0.5, 0.9  # shares from which a layer is worth one


@dataclass(frozen=True)
class Evidence:
    """What the findings are made of.

    Attributes
    ----------
    wanted
        Number of epochs that were to be trained, where Ctrl-C came first; else None.
    """

    records: tuple[BenchmarkRow, ...]
    history: tuple[HistoryRow, ...]
    flow: tuple[FlowRow, ...]
    validation_size: int
    test_size: int
    wanted: int | None = None


def findings(evidence: Evidence) -> Iterator[Finding]:
    """Yield what every check has to say."""
    for check in CHECKS:
        yield from check(evidence)


def interrupted(evidence: Evidence) -> Iterator[Finding]:
    """Ctrl-C came before all was done."""
    if evidence.wanted is not None:
        yield Finding(
            "interrupted",
            "warning",
            (),
            f"stopped by Ctrl-C; {len(evidence.history)} of {evidence.wanted} epochs were finished",
            "with --output-dir, --resume trains what is missing",
        )


def diverged(evidence: Evidence) -> Iterator[Finding]:
    """A training loss is not finite."""
    names = labels(evidence.history)
    lost = {names[row.setting]: 0 for row in evidence.history if not math.isfinite(row.train_loss)}
    for name in lost:
        yield Finding(
            "diverged",
            "error",
            (),
            f"{name}: the training loss is not finite",
            "a lower --lr, or a lower --clip-value",
        )


def behind(evidence: Evidence) -> Iterator[Finding]:
    """A setting is far from the best."""
    names = labels(evidence.records)
    ranked = sorted(evidence.records, key=lambda row: -row.test_accuracy)
    for row in ranked[1:]:
        gap = ranked[0].test_accuracy - row.test_accuracy
        if gap > _BEHIND:
            yield Finding(
                "below-expected",
                "warning",
                (),
                f"{names[row.setting]} reaches {percent(row)}, "
                f"{100 * gap:.1f} points below {names[ranked[0].setting]}",
                f"more --epochs; gradflow diagnose --act {row.activation} shows its gradients",
            )


def unresponsive(evidence: Evidence) -> Iterator[Finding]:
    """Units of a layer are dead, or saturated, at the end of training."""
    names = labels(evidence.flow)
    for rows in _last(evidence.flow).values():
        for code, limit, word in (
            ("dead", _DEAD, "of the units are dead: they pass no gradient for any image"),
            ("saturated", _SATURATED, "of the slopes are below 1 % of the largest"),
        ):
            bad = {row.name: getattr(row, f"{code}_fraction") or 0.0 for row in rows}
            layers = {name: share for name, share in bad.items() if share > limit}
            if layers:
                yield Finding(
                    code,
                    "warning",
                    tuple(r.index for r in rows if r.name in layers),
                    f"{names[rows[0].setting]}, seed {rows[0].seed}: {_shares(layers)} {word}",
                    "a lower --lr, or an activation with a slope on both sides",
                )


def _shares(layers: dict[str, float]) -> str:
    return ", ".join(f"in {name} {share:.0%}" for name, share in layers.items())


def _last(flow: Iterable[FlowRow]) -> dict[object, list[FlowRow]]:
    """Return the rows of every run's last epoch."""
    runs: dict[object, list[FlowRow]] = {}
    for row in sorted(flow, key=lambda row: row.epoch):
        rows = runs.setdefault((row.setting, row.seed), [])
        if rows and rows[0].epoch != row.epoch:
            rows.clear()
        rows.append(row)
    return runs


def how_judged(evidence: Evidence) -> Iterator[Finding]:
    """How the best epoch was chosen, what the test set was for, and what noise means."""
    if not evidence.records:
        return
    chosen = (
        f"the best epoch is that of {evidence.validation_size:,} images held out of the training "
        "set"
        if evidence.validation_size
        else "without a validation set the last epoch counts"
    )
    yield Finding(
        "test-set",
        "info",
        (),
        f"{chosen}; the {evidence.test_size:,} test images were looked at once per epoch and chose "
        "nothing",
        "",
    )
    if len(evidence.records) > 1 and max(row.seeds for row in evidence.records) == 1:
        yield Finding(
            "one-seed",
            "info",
            (),
            f"one seed: 'within noise' is judged by the {evidence.test_size:,} test images alone",
            "--seeds 3 or more gives intervals and paired tests",
        )


#: In the order in which they are said; a new check is one entry.
CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    interrupted,
    diverged,
    behind,
    unresponsive,
    how_judged,
)
