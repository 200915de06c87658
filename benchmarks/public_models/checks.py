"""Everything that is asked of one model, as one plain row."""

from __future__ import annotations

from typing import Any

import gradflow
from public_models.case import Builder, Case, built, enlarged, plain_loss, seeded
from public_models.cost import memory_ratio, time_ratio, watch_ratios
from public_models.state import differences, own_hooks, state
from public_models.table import TIMES
from public_models.training import OPTIMIZERS, losses
from public_models.truth import Norms, agreement
from public_models.variants import FAULTS, Variant

Row = dict[str, Any]


def diagnosed(case: Case) -> Any:
    """Return the diagnosis, under the random states of `seeded`."""
    seeded(1)
    return gradflow.diagnose(case.model, case.inputs, case.targets, loss=case.loss)


def published(builder: Builder, *, watch: bool, costs: bool, batch: bool) -> Row:
    """Return what a model as its package publishes it shows."""
    case = built(builder)
    seeded(1)
    before = state(case.model)
    row: Row = {"parameters": sum(p.numel() for p in case.model.parameters())}
    try:
        result = diagnosed(case)
    except Exception as error:
        refused = isinstance(error, gradflow.GradflowError)
        said = f"{'refused' if refused else 'raised'}: {type(error).__name__}: {error}"
        return row | {"ran": said, "unchanged": _changed(before, case, builder)}
    row |= {"ran": "yes", "unchanged": _changed(before, case, builder), **_said(result)}
    found = agreement(list(result.records), Norms(built(builder)))
    row |= {f"rows_{name}": value for name, value in vars(found).items()}
    if costs:
        row["seconds"], row["time_ratio"] = time_ratio(case)
        row["memory_ratio"] = memory_ratio(case)
    if batch:
        larger = _or_error(lambda given: time_ratio(enlarged(given, TIMES)), case)
        row["batch_seconds"], row["batch_ratio"] = larger
    if watch:
        row["watch_first"], row["watch_ratio"] = _or_error(watch_ratios, case)
    return row


def _changed(before: dict[str, Any], case: Case, builder: Builder) -> list[str]:
    changed = differences(before, state(case.model))
    if not any(name.endswith(":hooks") for name in changed):
        return changed
    other = built(builder)
    allowed = set(own_hooks(other.model, lambda: plain_loss(other)))
    return [name for name in changed if name not in allowed]


def _or_error(measure: Any, case: Case) -> Any:
    try:
        return measure(case)
    except Exception as error:
        return (f"{type(error).__name__}: {error}",) * 2


def _said(result: Any) -> Row:
    return {
        "verdict": result.verdict,
        "title": result.title,
        "findings": [
            {"code": f.code, "severity": f.severity, "layers": len(f.layers), "message": f.message}
            for f in result.findings
        ],
    }


def trained(builder: Builder) -> Row:
    """Return the losses before and after a short training, by optimizer."""
    return {
        name: _or_error(lambda case, o=name: losses(case, o), built(builder)) for name in OPTIMIZERS
    }


def broken(builder: Builder, variant: Variant, *, train: bool = False) -> Row:
    """Return what a model says of itself with one thing broken, and whether it names it."""
    row = _diagnosed_broken(builder, variant)
    if train:
        row["intact"] = trained(builder)
        row["trained"] = trained(lambda: FAULTS[variant.fault](built(builder)))
    return row


def _diagnosed_broken(builder: Builder, variant: Variant) -> Row:
    case = FAULTS[variant.fault](built(builder))
    try:
        row = _said(diagnosed(case))
    except Exception as error:
        return {"ran": f"{type(error).__name__}: {error}", "named": False}
    loud = {f["code"] for f in row["findings"] if f["severity"] in ("error", "warning")}
    return row | {"ran": "yes", "named": bool(loud & set(variant.codes)), "loud": sorted(loud)}
