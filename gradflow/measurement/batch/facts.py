"""From a step that is held to plain numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.batch.chain import chain_from
from gradflow.measurement.batch.codes import codebook_of, drawn_signal
from gradflow.measurement.batch.graph import Graph, Node, name_of, saved_tensor
from gradflow.measurement.batch.judged import criterion_facts, output_numbers
from gradflow.measurement.batch.layers import (
    dropout_of,
    foreign,
    is_linear,
    linear_runs,
    unregistered,
)
from gradflow.measurement.batch.mixing import mixing_of
from gradflow.measurement.batch.penalties import penalised_share
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.tensors import copied_columns, tensor_facts
from gradflow.measurement.batch.terms import Term, terms_of
from gradflow.measurement.batch.updates import first_layer
from gradflow.measurement.modules import normalizes_batch
from gradflow.results.facts import BatchFacts, CriterionFacts, LeafFacts, TensorFacts

T = TypeVar("T")

#: Inputs that are described.
_MOST_INPUTS = 4
#: Criteria that are described.
_MOST_CRITERIA = 8


def batch_facts(seen: SeenBatch) -> BatchFacts:
    """Return what can be told of one batch before the backward pass frees its graph.

    Changes nothing and never raises: what cannot be read is None, or empty.
    """
    with torch.no_grad():
        return _read(lambda: _facts(seen), BatchFacts())


def _read(reading: Callable[[], T], otherwise: T) -> T:
    """What `reading` gives; `otherwise` where a model does what nobody thought of."""
    try:
        return reading()
    except Exception:  # facts are beside the point where they cannot be had
        return otherwise


def _facts(seen: SeenBatch) -> BatchFacts:
    loss = seen.loss
    sources: list[Node] = [t.grad_fn for t in seen.outputs if t.grad_fn is not None]
    behind = Graph.of([loss.grad_fn], stop=sources)
    outside = [t.grad_fn for t in seen.inputs if t.grad_fn is not None]
    no_leaves: list[LeafFacts] = []
    own = Graph.of(sources, stop=outside)
    none: list[Term] = []
    terms = _read(lambda: _terms(seen, _Whole(loss, sources, behind, own)), none)
    trained = _trained(seen)
    strange = _read(lambda: unregistered(own, seen.model, trained), no_leaves)
    others = foreign(behind, seen.model, trained)
    entries = sum(p.numel() for p in walks.parameters(seen.model) if p.requires_grad)
    share = sum(leaf.entries for leaf in strange)
    unknown: tuple[TensorFacts, ...] = ()
    numbers = _read(lambda: output_numbers(seen.outputs), unknown)
    return BatchFacts(
        examples=_examples(seen),
        loss=_read(lambda: loss.detach().double().mean().item() / seen.scale, None),
        inputs=_read(lambda: tuple(map(tensor_facts, seen.inputs[:_MOST_INPUTS])), ()),
        outputs=numbers,
        criteria=tuple(_criteria(terms, seen, numbers, own if len(sources) == 1 else None)),
        cut_off=loss.grad_fn is None and loss.requires_grad,
        unregistered=tuple(strange),
        unregistered_share=share / (share + entries) if share else 0.0,
        linear=_read(lambda: linear_runs(own, seen.model), ()),
        all_linear=_read(lambda: is_linear([chain_from(n).layer or n for n in sources]), False),
        dropout=_read(lambda: dropout_of(seen.model, own), (0.0, 0)),
        batch_norm=_read(lambda: normalizes_batch(seen.model), False),
        first_layer=_read(lambda: first_layer(own, seen), None),
        hazards=_read(lambda: _hazards(behind), ()),
        drawn_signal=_read(lambda: drawn_signal(loss, behind), None),
        penalised=_read(lambda: penalised_share(behind, sources, seen.model), 0.0),
        through_others=any(isinstance(t, nn.Parameter) for t in others),
        copied_outputs=_read(lambda: copied_columns(seen.outputs[0]), None),
    )


class _Whole:
    """The graph of a loss, of which the parts behind and before the outputs are known."""

    def __init__(self, loss: Tensor, sources: list[Node], behind: Graph, own: Graph) -> None:
        self.loss, self.sources, self.behind, self.own = loss, sources, behind, own

    @functools.cached_property
    def _known(self) -> list[Graph]:
        entered = {self.loss.grad_fn, *self.behind.users}
        if all(node in entered for node in self.sources):
            return [self.behind, self.own]
        return [Graph.of([self.loss.grad_fn])]  # there are outputs that have no part in it

    def __contains__(self, node: Node) -> bool:
        if node in self.behind or node in self.behind.users:
            return True
        return any(node in graph for graph in self._known)


def _terms(seen: SeenBatch, graph: _Whole) -> list[Term]:
    """The criteria of which the loss is made; what was heard of other losses is left out."""
    heard = [c for c in seen.criteria if c.input.grad_fn is not None and c.input.grad_fn in graph]
    found = terms_of(seen.loss, heard)[:_MOST_CRITERIA]
    if not found and len(seen.outputs) == 1 and seen.outputs[0].grad_fn in graph:
        output = seen.outputs[0]
        return [Term("unknown", output.grad_fn, output.detach(), None, sign=0)]
    return found


def _criteria(
    terms: list[Term], seen: SeenBatch, numbers: tuple[TensorFacts, ...], own: Graph | None
) -> list[CriterionFacts]:
    known = list(zip(seen.outputs, numbers, strict=False))
    found = (_read(lambda t=t: _criterion(t, seen, known, own), None) for t in terms)  # type: ignore[misc]
    return [facts for facts in found if facts is not None]


def _criterion(
    term: Term, seen: SeenBatch, known: list[tuple[Tensor, TensorFacts]], own: Graph | None
) -> CriterionFacts:
    facts = criterion_facts(term, seen.outputs, known)
    graph = own if own is not None and own.nodes and own.nodes[0] is term.source else None
    mixing = _read(lambda: mixing_of(term, seen, graph), None)
    codebook = _read(lambda: codebook_of(term.source), None)
    return replace(facts, mixing=mixing, codebook=codebook)


def _trained(seen: SeenBatch) -> frozenset[int]:
    """What the optimizer trains, by ``id``."""
    groups = seen.optimizer.param_groups if seen.optimizer is not None else []
    return frozenset(id(p) for group in groups for p in group["params"])


def _examples(seen: SeenBatch) -> int | None:
    first = next((t for t in seen.inputs if t.dim()), None)
    return None if first is None else len(first)


#: Operations by the node that undoes them: what of theirs must not be 0 (or 1), by name.
_HAZARDS = {
    "Sqrt": ("sqrt", "result", 0.0),
    "Log": ("log", "self", 0.0),
    "Div": ("div", "other", 0.0),
    "Rsqrt": ("sqrt", "result", math.inf),
    "Acos": ("acos", "self", 1.0),
    "Asin": ("acos", "self", 1.0),
}


def _hazards(behind: Graph) -> tuple[tuple[str, int], ...]:
    """Operations between the outputs and the loss whose gradient is not finite, as they were used.

    The gradient of a root at 0 is infinite, even where what comes after multiplies it by 0.
    """
    found = dict[str, int]()
    for node in behind.named(*_HAZARDS):
        name, where, value = _HAZARDS[name_of(node)]
        values = saved_tensor(node, where)
        entries = 0 if values is None else int((values.abs() == value).sum())
        if entries:
            found[name] = found.get(name, 0) + entries
    return tuple(found.items())
