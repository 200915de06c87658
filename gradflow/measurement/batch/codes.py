"""Codes in a graph: those looked up in a codebook, and those drawn around a mean."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gradflow.measurement.batch.chain import PASSING
from gradflow.measurement.batch.graph import (
    Graph,
    Node,
    inputs_of,
    is_leaf,
    name_of,
    saved,
    saved_tensor,
)
from gradflow.results.facts import CodebookFacts

#: Nodes between a looked-up code and the criterion that holds it against what it stands for.
_MOST = 8
#: Entries of noise that have to be there to tell it.
_NOISE = 64


def codebook_of(source: Node | None) -> CodebookFacts | None:
    """Return how many codes of a codebook a criterion's input was looked up from.

    A criterion directly on rows of a table is what trains a codebook.
    """
    node = source
    for _ in range(_MOST):
        if node is None:
            return None
        used = _chosen(node)
        if used is not None:
            return CodebookFacts(len(torch.unique(used)), used.numel())
        before = inputs_of(node)
        node = before[0][0] if name_of(node) in PASSING and len(before) == 1 else None
    return None


def _chosen(node: Node) -> Tensor | None:
    """Return which rows of a table a node took."""
    table = [n for n, _ in inputs_of(node)]
    if len(table) != 1 or not is_leaf(table[0]):
        return None
    name = name_of(node)
    if name == "Embedding":
        return saved_tensor(node, "indices")
    if name == "IndexSelect":
        return saved_tensor(node, "index")
    if name == "Index":
        found = [t for t in saved(node, "indices") or () if isinstance(t, Tensor)]
        return found[0].detach() if len(found) == 1 and found[0].dtype == torch.int64 else None
    return _one_hot(saved_tensor(node, "self")) if name == "Mm" else None


def _one_hot(rows: Tensor | None) -> Tensor | None:
    """Return the places of the ones."""
    if rows is None or rows.dim() != 2:
        return None
    ones = bool(((rows == 0) | (rows == 1)).all()) and bool((rows.sum(1) == 1).all())
    return rows.argmax(1) if ones else None


def drawn_signal(loss: Tensor, behind: Graph) -> float | None:
    """Return how much the means of drawn codes differ between examples, over their own variance.

    Of the unit that differs most. A code is drawn as mean + noise · exp(…), and its mean is
    squared in the loss, as the divergence from a standard normal prior has it.

    Parameters
    ----------
    behind
        The part of its graph behind the model's outputs.
    """
    prior = any(behind.named("Exp")) and any(behind.named("Pow", "Square"))
    found = list(_drawn(Graph.of([loss.grad_fn]))) if prior else []
    if not found:
        return None
    signals = []
    for mean, deviation in found:
        between = mean.double().flatten(1).var(0, correction=0)
        within = deviation.double().flatten(1).square().mean(0)
        signals.append(float((between / within.clamp(min=1e-30)).max()))
    return max(signals)


def _drawn(graph: Graph) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield means and standard deviations of codes that are drawn."""
    squared = dict(_squared(graph))
    for node in graph.named("Add"):
        edges = inputs_of(node)
        for (one, _), mean in zip(edges, reversed(edges), strict=True):
            deviation = _deviation(one) if len(edges) == 2 else None
            value = squared.get(mean)
            if deviation is not None and value is not None and value.shape == deviation.shape:
                yield value, deviation


def _squared(graph: Graph) -> Iterator[tuple[tuple[Node, int], Tensor]]:
    for node in graph.named("Pow", "Square"):
        value = saved_tensor(node, "self")
        exponent = saved(node, "exponent") if name_of(node) == "Pow" else 2
        if exponent == 2 and value is not None and value.dim() > 1 and len(value) > 1:
            yield inputs_of(node)[0], value


def _deviation(node: Node) -> Tensor | None:
    """Return what noise is multiplied with, if it is an exponential."""
    before = inputs_of(node)
    if name_of(node) != "Mul" or len(before) != 1:
        return None
    values = [saved_tensor(node, name) for name in ("self", "other")]
    noise = next((v for v in values if v is not None and _is_noise(v)), None)
    result = saved_tensor(before[0][0], "result") if name_of(before[0][0]) == "Exp" else None
    return None if noise is None or result is None else result


def _is_noise(values: Tensor) -> bool:
    if values.numel() < _NOISE or values.dim() < 2:
        return False
    return abs(float(values.mean())) < 0.5 and 0.7 < float(values.std()) < 1.3
