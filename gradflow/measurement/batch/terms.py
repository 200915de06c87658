"""The criteria that a loss is made of: which, of what, against what, with which sign.

They are read off the graph, whatever functions the program called; what was heard of torch's own
criteria adds those that leave no node of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradflow.measurement.batch.chain import CHOOSING, PASSING
from gradflow.measurement.batch.criteria import CriterionCall
from gradflow.measurement.batch.graph import (
    Node,
    inputs_of,
    is_leaf,
    name_of,
    saved,
    saved_tensor,
    shape_of,
)


@dataclass(frozen=True)
class Term:
    """One criterion in a loss.

    Attributes
    ----------
    kind
        ``"cross-entropy"``, ``"nll"``, ``"bce"``, ``"bce-with-logits"``, ``"mse"``, ``"l1"``, ….
    source
        The node whose output the criterion judges.
    scores, target
        That output, and what it is held against, where they are known.
    sign
        1 or -1: how it enters the loss; 0 where that is not known.
    summed
        Whether it is a sum over the examples; None: not known.
    heard
        Whether the program called torch's own function.
    expanded
        Shapes of the output before and after it was broadcast against the target; None: it was not.
    ignored
        The label that does not count.
    log_input
        Of a Poisson loss: whether the scores are logarithms.
    swapped
        Whether the function was given the target first, where that matters.
    of_outputs
        Whether the target takes a gradient as well.
    difference
        Of a hand-written loss: the output minus the target.
    beside
        Whether the loss has parts beside it that are no criterion known here, or is no multiple of
        it: a root, as of the mean square error.
    weighted
        Whether classes have weights.
    """

    kind: str
    source: Node | None
    scores: Tensor | None
    target: Tensor | None
    sign: int = 1
    summed: bool | None = None
    heard: bool = False
    expanded: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    ignored: int = -100
    log_input: bool = True
    swapped: bool = False
    of_outputs: bool = False
    difference: Tensor | None = None
    beside: bool = False
    weighted: bool = False


@dataclass(frozen=True)
class _Place:
    """Where the walk from the loss is.

    Attributes
    ----------
    node
        To be looked at.
    sign
        With which it enters the loss.
    summed, averaged
        Whether a sum, or a mean, lies between.
    picked
        Whether single entries were taken out, as those of the labels are.
    weighted
        Whether entries are weighted by something that takes no gradient, as targets are.
    curved
        Whether a root lies between: the loss is no multiple of the term.
    """

    node: Node
    sign: int = 1
    summed: bool = False
    averaged: bool = False
    picked: bool = False
    weighted: bool = False
    curved: bool = False


#: Criteria by the node that undoes them, with what they judge in ``_saved_self``.
_NODES = {
    "NllLoss": "nll",
    "NllLoss2D": "nll",
    "BinaryCrossEntropy": "bce",
    "BinaryCrossEntropyWithLogits": "bce-with-logits",
    "MseLoss": "mse",
    "SmoothL1Loss": "smooth-l1",
    "HuberLoss": "huber",
    "SoftMarginLoss": "soft-margin",
    "MultiMarginLoss": "multi-margin",
}
#: What the functions that are heard are called here.
HEARD = {
    "cross_entropy": "cross-entropy",
    "nll_loss": "nll",
    "binary_cross_entropy": "bce",
    "binary_cross_entropy_with_logits": "bce-with-logits",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "smooth_l1_loss": "smooth-l1",
    "huber_loss": "huber",
    "kl_div": "kl",
    "poisson_nll_loss": "poisson",
    "soft_margin_loss": "soft-margin",
    "multi_margin_loss": "multi-margin",
    "multilabel_margin_loss": "multilabel-margin",
    "multilabel_soft_margin_loss": "multilabel-soft-margin",
    "gaussian_nll_loss": "gaussian",
    "ctc_loss": "ctc",
    "cosine_embedding_loss": "cosine-embedding",
    "hinge_embedding_loss": "hinge-embedding",
    "margin_ranking_loss": "margin-ranking",
    "triplet_margin_loss": "triplet-margin",
}
#: Nodes through which a term reaches the loss as it is, up to a factor.
_COMBINING = PASSING | CHOOSING | {"Stack", "Cat", "Sum", "Mean", "MaskedFill", "Nansum", "Where"}
#: Nodes that end the walk, and belong to a criterion found elsewhere: smoothed labels.
_PARTS = frozenset({"LogSoftmax"})
#: Nodes of a loss that are looked at.
_MOST = 400


def terms_of(loss: Tensor, heard: Sequence[CriterionCall] = ()) -> list[Term]:
    """Return the criteria that are found between the loss and what it judges."""
    found: list[Term] = []
    beside = False
    seen: set[Node] = set()
    queue = [_Place(loss.grad_fn)] if loss.grad_fn is not None else []
    while queue and len(seen) < _MOST:
        place = queue.pop(0)
        if place.node in seen:
            continue
        seen.add(place.node)
        term = _term_at(place)
        if term is not None:
            found.append(replace(term, beside=place.curved or term.beside))
        else:
            further = list(_further(place))
            beside = beside or not (further or name_of(place.node) in _PARTS or is_leaf(place.node))
            queue.extend(further)
    return _with_heard([replace(term, beside=beside or term.beside) for term in found], heard)


def _further(place: _Place) -> Iterator[_Place]:
    """The terms that a node combines, each with its sign."""
    node, name = place.node, name_of(place.node)
    before = node.next_functions
    if name == "Neg":
        signs = [-place.sign]
    elif name in ("Sub", "Rsub"):
        signs = [place.sign, -place.sign] if name == "Sub" else [-place.sign, place.sign]
    elif name in ("Add", *_COMBINING) or _is_root(node):
        signs = [place.sign] * len(before)
    elif name in ("Mul", "Div") and len(inputs_of(node)) == 1:
        signs = [place.sign * _sign_of(node)] * len(before)
    else:
        return
    here = replace(
        place,
        summed=place.summed or name == "Sum",
        averaged=place.averaged or name == "Mean" or _divides(node, name),
        picked=place.picked or name in ("Gather", "Index"),
        weighted=place.weighted or (name == "Mul" and len(shape_of(node)) > 0),
        curved=place.curved or _is_root(node),
    )
    for (following, _), sign in zip(before, signs, strict=False):
        if following is not None:
            yield replace(here, node=following, sign=sign)


def _is_root(node: Node) -> bool:
    return name_of(node) == "Sqrt" or (name_of(node) == "Pow" and _exponent(node) == 0.5)


def _divides(node: Node, name: str) -> bool:
    """Whether a sum is divided by how many there are, or so."""
    other = saved(node, "other") if name == "Div" else None
    return name == "Div" and (other is None or float(torch.as_tensor(other).abs().max()) > 1)


def _sign_of(node: Node) -> int:
    """The sign of the factor that a node multiplies by; 0 where it is mixed or not known.

    Minus one alone turns it: other numbers below 0 may be rewards.
    """
    found = (saved(node, "other"), saved(node, "self"))
    other = next((value for value in found if value is not None), None)
    if isinstance(other, Tensor):
        if bool((other >= 0).all()):
            return 1
        return -1 if other.dim() == 0 and float(other) == -1 else 0
    if not isinstance(other, int | float):
        return 0
    return 1 if other >= 0 else -1 if other == -1 else 0


def _term_at(place: _Place) -> Term | None:
    """The criterion that a node undoes, if it is one."""
    name = name_of(place.node)
    if name in _NODES:
        return _of_node(place, _NODES[name])
    if name in _BY_HAND:
        return _by_hand(place)
    if name == "Log" and place.weighted:
        return _of_log(place)
    if name == "LogSoftmax" and (place.picked or place.weighted):
        scores = inputs_of(place.node)
        return Term(
            "cross-entropy",
            scores[0][0] if scores else None,
            saved_tensor(place.node, "result"),
            None,
            sign=-place.sign,
            summed=place.summed and not place.averaged,
        )
    return None


#: Nodes of a distance between two things that is written by hand.
_BY_HAND = frozenset({"Pow", "Square", "Abs", "LinalgVectorNorm"})


def _by_hand(place: _Place) -> Term | None:
    """A distance written by hand: squares, magnitudes, or the root of a sum of squares."""
    node, name = place.node, name_of(place.node)
    if name != "Abs" and (_exponent(node) or saved(node, "ord")) != 2:
        return None
    term = _of_difference(place, "l1" if name == "Abs" else "mse", saved_tensor(node, "self"))
    if term is not None and name == "LinalgVectorNorm":
        return replace(term, beside=True)
    return term


def _of_log(place: _Place) -> Term | None:
    """A log-likelihood written by hand: the logarithm of probabilities, weighted by targets."""
    probabilities = saved_tensor(place.node, "self")
    if probabilities is None or not bool((probabilities <= 1.001).all()):
        return None
    before = inputs_of(place.node)
    source = before[0][0] if before else None
    return Term("log-likelihood", source, probabilities, None, sign=-place.sign)


def _exponent(node: Node) -> float | None:
    value = saved(node, "exponent")
    return float(value) if isinstance(value, int | float) else None


def _of_node(place: _Place, kind: str) -> Term:
    node = place.node
    source = next((n for n, _ in inputs_of(node)), None)
    turned = bool(node.next_functions) and node.next_functions[0][0] is None  # (target, output)
    reduction = saved(node, "reduction")
    summed = {0: place.summed and not place.averaged, 1: False, 2: not place.averaged}
    term = Term(
        kind,
        source,
        saved_tensor(node, "target" if turned else "self"),
        saved_tensor(node, "self" if turned else "target"),
        sign=place.sign,
        summed=summed.get(reduction) if isinstance(reduction, int) else None,
        expanded=_expanded(source),
        of_outputs=len(inputs_of(node)) > 1,
        ignored=int(saved(node, "ignore_index") or -100) if kind == "nll" else -100,
        weighted=kind == "nll" and saved_tensor(node, "weight") is not None,
    )
    return _as_cross_entropy(term) if kind == "nll" else term


def _as_cross_entropy(term: Term) -> Term:
    """The same as cross-entropy of the scores, where a log-softmax comes right before it."""
    node = term.source
    for _ in range(6):
        if node is None:
            return term
        if name_of(node) == "LogSoftmax" and _normalised(term.scores):
            before = inputs_of(node)
            return replace(term, kind="cross-entropy", source=before[0][0] if before else None)
        if name_of(node) not in PASSING:
            return term
        before = inputs_of(node)
        node = before[0][0] if len(before) == 1 else None
    return term


def _normalised(logs: Tensor | None) -> bool:
    """Whether log-probabilities are those of the classes: not of the examples, say."""
    if logs is None or logs.dim() < 2:
        return True
    total = logs[: 2**16 // max(logs[0].numel(), 1) + 1].float().logsumexp(1)
    return bool(total.abs().max() < 0.1)


def _expanded(source: Node | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Whether an output was broadcast right before its criterion, from which shape to which."""
    if source is None or name_of(source) != "Expand":
        return None
    before = inputs_of(source)
    shapes = shape_of(*before[0]) if before else (), shape_of(source)
    return shapes if shapes[0] and shapes[0] != shapes[1] else None


def _of_difference(place: _Place, kind: str, difference: Tensor | None) -> Term | None:
    """A hand-written loss of an output minus a target: one side takes a gradient, one does not."""
    before = inputs_of(place.node)
    if len(before) != 1 or name_of(before[0][0]) not in ("Sub", "Rsub"):
        return None
    minus = before[0][0]
    sides = list(minus.next_functions)
    taken = [i for i, (node, _) in enumerate(sides) if node is not None]
    if len(sides) != 2 or len(taken) != 1:
        return None
    source, at = sides[taken[0]]
    was, now = shape_of(source, at), shape_of(minus)
    first = (taken[0] == 0) == (name_of(minus) == "Sub")
    return Term(
        kind,
        source,
        None,
        None,
        sign=place.sign,
        summed=place.summed and not place.averaged,
        expanded=(was, now) if was and was != now else None,
        difference=difference if first or difference is None else -difference,
    )


def _with_heard(found: list[Term], heard: Sequence[CriterionCall]) -> list[Term]:
    """The terms, told by what was heard which function they came from; and those of it alone."""
    terms = list(found)
    for call in heard:
        told = _told(call)
        same = [i for i, term in enumerate(terms) if _same(term, told)]
        for i in same:
            terms[i] = _merged(terms[i], told)
        if not same:
            terms.append(told)
    return terms


def _told(call: CriterionCall) -> Term:
    """What was heard, as a term."""
    expanded = None
    if call.target is not None and call.name in _ALIKE:
        was, other = tuple(call.input.shape), tuple(call.target.shape)
        now = _broadcast(was, other)
        expanded = (was, now) if now is not None and now != was else None
    return Term(
        HEARD.get(call.name, call.name),
        call.input.grad_fn,
        call.input.detach(),
        None if call.target is None else call.target.detach(),
        sign=0,
        summed=call.reduction == "sum",
        heard=True,
        expanded=expanded,
        ignored=int(call.options.get("ignore_index", -100)),
        log_input=bool(call.options.get("log_input", True)),
        swapped=call.swapped and call.name not in _ALIKE,
        of_outputs=call.target is not None and call.target.requires_grad,
        weighted=call.weighted,
    )


#: Functions whose input and target are meant to have one shape.
_ALIKE = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss"})


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return tuple(torch.broadcast_shapes(one, other))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None


def _same(term: Term, told: Term) -> bool:
    """Whether a term of the graph is the call that was heard."""
    if told.source is None or term.kind not in _LIKE.get(told.kind, (told.kind,)):
        return False
    node = term.source
    for _ in range(4):  # views and a broadcast that the function itself makes
        if node is told.source:
            return True
        before = inputs_of(node) if node is not None and name_of(node) in PASSING else []
        node = before[0][0] if len(before) == 1 else None
    return _below(term.source, told.source)


#: What the graph alone may take a heard function for.
_LIKE = {"cross-entropy": ("cross-entropy", "nll"), "nll": ("nll", "cross-entropy")}


def _below(source: Node | None, told: Node) -> bool:
    """Whether the graph was read past what was given to the function: a log-softmax of its own."""
    return (
        source is not None
        and name_of(told) in ("LogSoftmax", *PASSING)
        and any(node is source for node, _ in inputs_of(told))
    )


def _merged(term: Term, told: Term) -> Term:
    """What the graph and the ear say of one criterion: the sign of one, the values of the other."""
    return replace(
        told,
        kind=term.kind if told.kind == "nll" else told.kind,
        source=term.source if told.kind == "nll" else told.source,
        scores=term.scores if told.kind == "nll" else told.scores,
        sign=term.sign,
        summed=term.summed,
        expanded=told.expanded or term.expanded,
        beside=term.beside,
    )
