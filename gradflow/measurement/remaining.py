"""Trained parameters that belong to no layer call: rows of their own, or a word on what is left.

Normalisation, embeddings, parameters beside child modules, parameter lists, and weights that are
used without calling their module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.modules import biases
from gradflow.measurement.records import LayerRecord, Uncovered


def remaining(
    model: nn.Module, records: Sequence[LayerRecord], gradient_of: Mapping[int, Tensor | None]
) -> tuple[list[LayerRecord], Uncovered]:
    """Return records of the parameters that `records` do not show, and what has no gradient.

    Small parameters (normalisation, scales) of all modules of a class are one record.

    Parameters
    ----------
    gradient_of
        Of every trained parameter, by ``id``.
    """
    shown = {id(p) for record in records for p in (*record.weights, *record.biases)}
    rows: dict[str, LayerRecord] = {}
    left: dict[int, tuple[str, Tensor]] = {}
    for name, module in walks.named_parts(model):
        own = {n: p for n, p in module._parameters.items() if p is not None}
        waiting = {n: p for n, p in own.items() if id(p) in gradient_of and id(p) not in shown}
        if not waiting:
            continue
        there = {n: p for n, p in waiting.items() if gradient_of[id(p)] is not None}
        left |= {id(p): (name or n, p) for n, p in waiting.items() if n not in there}
        shown |= {id(p) for p in there.values()}
        for record in _records(name, module, there, whole=len(waiting) == len(own)):
            _add(rows, record)
    return _numbered(records, rows), _uncovered(model, left)


def _records(
    name: str, module: nn.Module, there: Mapping[str, Tensor], *, whole: bool
) -> Iterator[LayerRecord]:
    kind = type(module).__name__
    if not whole:  # beside those of a layer, which has a row of its name
        for own, p in there.items():
            yield _record(f"{name}.{own}".strip("."), kind, module, {own: p})
    elif there:
        yield _record(name, kind, module, there)


def _record(name: str, kind: str, module: nn.Module, named: Mapping[str, Tensor]) -> LayerRecord:
    of_biases = {id(b) for b in biases(module)} if len(named) > 1 else set()
    weights = [p for p in named.values() if id(p) not in of_biases]
    record = LayerRecord(0, name, kind, module, weights=weights or list(named.values()))
    record.biases = [p for p in named.values() if weights and id(p) in of_biases]
    return record


def _add(rows: dict[str, LayerRecord], record: LayerRecord) -> None:
    """Add a record, or its parameters to those of its class where all of them are small."""
    if any(p.dim() >= 2 for p in record.weights):
        rows[record.name] = record
        return
    same = rows.setdefault(f"all {record.kind}", record)
    if same is not record:
        same.weights = [*same.weights, *same.biases, *record.weights, *record.biases]
        same.name, same.biases = f"all {record.kind}", []


def _numbered(records: Sequence[LayerRecord], rows: dict[str, LayerRecord]) -> list[LayerRecord]:
    for index, record in enumerate(rows.values(), start=len(records) + 1):
        record.index = index
    return list(rows.values())


def _uncovered(model: nn.Module, left: dict[int, tuple[str, Tensor]]) -> Uncovered:
    if not left:
        return Uncovered()
    total = sum(p.numel() for p in walks.parameters(model) if p.requires_grad)
    entries = sum(p.numel() for _, p in left.values())
    return Uncovered(tuple(_whole(model, left)), entries / total if total else 0.0)


def _whole(model: nn.Module, left: Mapping[int, tuple[str, Tensor]]) -> Iterator[str]:
    """Name the largest modules that are left out as a whole, then the parameters of others."""
    named: set[int] = set()
    for name, module in walks.named_parts(model):
        trained = [p for p in walks.parameters(module) if p.requires_grad]
        inside = {id(p) for p in trained} - named
        if name and inside and all(id(p) in left for p in trained):
            named |= inside
            yield name
    yield from dict.fromkeys(name for ident, (name, _) in left.items() if ident not in named)
