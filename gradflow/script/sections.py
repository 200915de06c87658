"""From the watches of a program's models to one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradflow.findings.check import judged, verdict_of
from gradflow.results.base import Finding, RunMeta
from gradflow.results.watching import (
    WatchedModel,
    WatchFacts,
    WatchHistoryRow,
    WatchResult,
    WatchRow,
)
from gradflow.script.checks import CHECKS as PROGRAM_CHECKS
from gradflow.script.endings import Ending
from gradflow.script.models import Model
from gradflow.watching.checks import CHECKS

#: What makes the steps of a program seen.
_STEPS = "an optimizer of torch.optim that steps the model; what a loop updates by hand is not seen"


def program_result(models: Sequence[Model], ending: Ending, meta: RunMeta) -> WatchResult:
    """Return the result of a program that is over."""
    shown = _shown(models)
    results = [_of_a_program(model.result()) for model in shown]
    names = _different([model.name for model in shown])
    sections = [_section(*parts) for parts in zip(shown, names, results, strict=True)]
    if not sections:
        empty = tuple(model.name for model in models if model.on_meta)
        whole = judged(WatchResult(meta=meta, facts=WatchFacts(meta=empty)), CHECKS)
    elif len(sections) == 1:
        whole = results[0]
    else:
        sizes = [model.entries for model in shown]
        whole = together(results[sizes.index(max(sizes))], sections, results)
    whole = replace(
        whole,
        meta=replace(whole.meta, command=meta.command, config=whole.meta.config | meta.config),
        models=tuple(sections),
        script_exit_code=ending.code,
        facts=replace(whole.facts, interrupted=ending.interrupted),
    )
    own = [found for check in PROGRAM_CHECKS for found in check(whole)]
    return replace(whole, findings=(*whole.findings, *own))


def _of_a_program(result: WatchResult) -> WatchResult:
    """Return a result whose advice speaks of a program, in which there is no watch to call."""
    found = (replace(f, advice=_STEPS) if f.code == "unrecorded" else f for f in result.findings)
    return replace(result, findings=tuple(found))


def _shown(models: Sequence[Model]) -> list[Model]:
    """Return the models that were stepped; all that ran where none was."""
    ran = [model for model in models if model.ran]
    return [model for model in ran if model.stepped] or ran


def _different(names: Sequence[str]) -> list[str]:
    """Return names that differ: models that are made in a loop get numbers."""
    return [
        name if names.index(name) == place else f"{name} {names[:place].count(name) + 1}"
        for place, name in enumerate(names)
    ]


def _section(model: Model, name: str, result: WatchResult) -> WatchedModel:
    return WatchedModel(
        name=name,
        verdict=result.verdict,
        optimizer=", ".join(model.optimizers),
        title=result.title,
        seen=result.seen,
        steps=result.steps,
        rows=result.records,
        findings=result.findings,
    )


def together(
    main: WatchResult, sections: Sequence[WatchedModel], results: Sequence[WatchResult]
) -> WatchResult:
    """Return one result of several models: rows and history of all, names after the model's.

    Steps, rates and what else is of one model are those of `main`.
    """
    records: list[WatchRow] = []
    history: list[WatchHistoryRow] = []
    findings: list[Finding] = []
    for section, result in zip(sections, results, strict=True):
        before = len(records)
        history += [replace(row, index=before + row.index) for row in result.history]
        for row in section.rows:
            name = f"{section.name}.{row.name}" if row.name else section.name
            records.append(replace(row, index=before + row.index, name=name))
        findings += [_named(found, section.name, before) for found in section.findings]
    findings.sort(key=lambda f: ("error", "warning", "info").index(f.severity))
    return replace(
        main,
        records=tuple(records),
        findings=tuple(findings),
        verdict=verdict_of(findings),
        history=tuple(history),
    )


def _named(found: Finding, name: str, before: int) -> Finding:
    layers = tuple(before + index for index in found.layers)
    return replace(found, message=f"{name}: {found.message}", layers=layers)
