"""What a criterion judges, in plain numbers: activations, outputs, targets, its first value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gradflow.findings.batches import DISTANCES, OF_CLASSES, OF_TWO
from gradflow.measurement.batch.chain import Activation, Chain, chain_from, scrambled
from gradflow.measurement.batch.graph import Node, inputs_of, name_of, shape_of
from gradflow.measurement.batch.tensors import looked_at, number, real, rms, tensor_facts
from gradflow.measurement.batch.terms import Term
from gradflow.measurement.quick_stats import QuickStats, is_quick
from gradflow.measurement.stats import example_spread
from gradflow.results.facts import ActivationFacts, CriterionFacts, TensorFacts

#: What an activation's outputs lie between.
_REACH = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "ReLU": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "ELU": (-1.0, math.inf),
    "GELU": (-0.17, math.inf),
    "SiLU": (-0.28, math.inf),
    "tanh": (-1.0, 1.0),
    "log-softmax": (-math.inf, 0.0),
    "log-sigmoid": (-math.inf, 0.0),
}


#: Examples and classes among which directions are counted.
_MOST_ROWS, _MOST_CLASSES = 256, 256
#: Points below which it may be chance that all are of length 1.
_FEWEST_POINTS = 8
#: Distance from the unit sphere up to which a target counts as one on it.
_NEAR_THE_SPHERE = 0.1


def criterion_facts(
    term: Term, outputs: Sequence[Tensor], known: Sequence[tuple[Tensor, TensorFacts]] = ()
) -> CriterionFacts:
    """Return what is known of one criterion.

    Parameters
    ----------
    known
        Outputs whose numbers were taken.
    """
    chain = chain_from(term.source)
    scores, target = _values(term, outputs)
    return CriterionFacts(
        term.kind,
        term.sign,
        term.summed,
        term.heard,
        activations=tuple(_activation(a) for a in chain.activations),
        layer_units=_units(chain),
        chosen=chain.chosen,
        scaled=chain.scaled or chain.shifted,
        logs=chain.logs,
        output=None if scores is None else _scores(scores, known),
        target=None if target is None else tensor_facts(target, mask=False),
        expanded=term.expanded,
        swapped=term.swapped,
        log_input=term.log_input,
        of_outputs=term.of_outputs,
        beside=term.beside,
        scrambled=scrambled(term.source) if term.kind in OF_CLASSES else None,
        **_numbers(term, chain, scores, target),
    )


def _values(term: Term, outputs: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """The output and its target; of a hand-written difference, found by the model's outputs."""
    difference = term.difference
    if difference is None or term.scores is not None:
        return term.scores, term.target
    same = _output_of(term.source, outputs)
    if same is None or term.expanded is not None or same.numel() != difference.numel():
        return None, None
    scores = same.detach().reshape(difference.shape)
    return scores, scores - difference


def _output_of(node: Node | None, outputs: Sequence[Tensor]) -> Tensor | None:
    """The model's output that a node hands on, in the same order."""
    for _ in range(4):
        found = [t for t in outputs if t.grad_fn is not None and t.grad_fn is node]
        if found:
            return found[0]
        if node is None or name_of(node) not in ("Squeeze", "Unsqueeze", "View"):
            return None
        before = inputs_of(node)
        node = before[0][0] if len(before) == 1 else None
    return None


def _scores(scores: Tensor, known: Sequence[tuple[Tensor, TensorFacts]]) -> TensorFacts:
    numbers = next((numbers for tensor, numbers in known if _is_same(tensor, scores)), None)
    return replace(
        numbers or tensor_facts(scores),
        example_spread=_spread(scores),
        directions=_directions(scores),
    )


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are one and the same in memory."""
    shaped = one.shape == other.shape and one.dtype == other.dtype
    plain = shaped and one.layout == other.layout == torch.strided
    return plain and one.stride() == other.stride() and one.data_ptr() == other.data_ptr() != 0


def _directions(scores: Tensor) -> float | None:
    """In how many directions the scores of classes differ between examples, effectively."""
    few = scores.dim() == 2 and len(scores) >= 2 and 2 < scores.shape[1] <= _MOST_CLASSES
    if not few or not scores.is_floating_point():
        return None
    apart = scores.detach()[:_MOST_ROWS].double()
    apart = apart - apart.mean(0)
    apart = apart / apart.abs().max()
    both = apart.T @ apart
    return number(both.trace().square() / both.square().sum())


def _spread(output: Tensor) -> float | None:
    """The share of the mean square that differs between the examples, place by place.

    In float64 unless it is large: of scores that hardly differ little more is left than rounding.
    """
    if output.dim() == 0 or len(output) < 2 or not output.is_floating_point():
        return None
    values = looked_at(output)
    values = values.reshape(1, len(values), -1)
    if is_quick(values):
        spread = QuickStats(values).example_spread
        return spread if math.isfinite(spread) else None
    return number(example_spread(values.double())[0])


def _units(chain: Chain) -> int | None:
    if chain.layer is None:
        return None
    shape = shape_of(chain.layer)
    if not shape:
        return None
    return shape[1] if name_of(chain.layer) == "Convolution" and len(shape) > 1 else shape[-1]


def _activation(activation: Activation) -> ActivationFacts:
    stuck = _stuck(activation)
    return ActivationFacts(
        activation.kind,
        activation.dim,
        activation.size,
        shape_of(activation.node),
        activation.low,
        activation.high,
        stuck_share=None if stuck is None else number(stuck.double().mean()),
        stuck_units=None if stuck is None else _whole_units(stuck),
    )


def _stuck(activation: Activation) -> Tensor | None:
    """Where the slope is exactly 0."""
    if activation.kind == "ReLU":
        values = activation.values
        return None if values is None else looked_at(values) <= 0
    if activation.kind not in ("clamp", "hardtanh") or activation.before is None:
        return None
    before = looked_at(activation.before)
    low = -math.inf if activation.low is None else activation.low
    high = math.inf if activation.high is None else activation.high
    return (before < low) | (before > high)


def _whole_units(stuck: Tensor) -> float | None:
    if stuck.dim() < 2 or len(stuck) < 2:
        return number(stuck.double().mean()) if stuck.dim() == 1 and bool(stuck.all()) else 0.0
    return number(stuck.flatten(1).all(0).double().mean())


def _numbers(
    term: Term, chain: Chain, scores: Tensor | None, target: Tensor | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if term.kind in OF_CLASSES and scores is not None:
        found |= _of_classes(term, scores, target)
    elif scores is not None and target is not None and scores.shape == target.shape:
        one, other = real(looked_at(scores)), real(looked_at(target))
        if term.kind in OF_TWO:
            found |= _of_two_classes(term, one, other)
            last = chain.last
            if last is not None and last.kind == "softmax" and other.dim() > 1:
                found["row_sum"] = _row_sum(other, last)
        elif term.kind in DISTANCES or term.kind == "poisson":
            found |= _of_distances(term, chain, one, other)
    return found


def _of_classes(term: Term, scores: Tensor, target: Tensor | None) -> dict[str, Any]:
    """Of cross-entropy and the like: classes, labels, and the loss of an example."""
    place = 1 if scores.dim() > 1 else 0
    found: dict[str, Any] = {"classes": int(scores.shape[place])}
    rows, labels = _rows(scores, target)
    sums = rows.logsumexp(1)
    found["constant_loss"] = math.log(max(rows.shape[1], 1))
    found["normalisation"] = number(rms(sums))
    if labels is None:
        return found
    logs = sums if term.kind == "cross-entropy" else torch.zeros_like(sums)
    if labels.is_floating_point():
        found["first_loss"] = number((labels * (logs[:, None] - rows)).sum(1).mean())
        found["row_sum"] = number(labels.double().sum(1).mean())
        return found | _entropy(labels.mean(0), len(labels), term)
    known = (labels != term.ignored) & (labels >= 0) & (labels < rows.shape[1])
    own = rows.gather(1, labels.where(known, 0)[:, None])[:, 0]
    logs, labels = (logs - own)[known], labels[known]
    if labels.numel():
        found["first_loss"] = number(logs.mean())
        shares = torch.bincount(labels, minlength=rows.shape[1]) / labels.numel()
        found |= _entropy(shares, labels.numel(), term)
    return found


def _rows(scores: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Scores as rows of classes, with the labels or probabilities of each; of many, some."""
    if scores.dim() == 1:
        rows = scores[None]
        labels = None if target is None else target.reshape(1, *target.shape[:1])
        if labels is not None and not labels.is_floating_point():
            labels = labels.reshape(-1)[:1]
        return real(rows), labels
    wide = target is not None and target.shape == scores.shape and target.is_floating_point()
    rows = scores.movedim(1, -1).reshape(-1, scores.shape[1])
    labels = None
    if wide and target is not None:
        labels = real(target.movedim(1, -1).reshape(-1, scores.shape[1]))
    elif target is not None and target.numel() == len(rows):
        labels = target.reshape(-1)
    step = math.ceil(len(rows) / max(2**18 // max(rows.shape[1], 1), 64)) or 1
    return real(rows[::step]), None if labels is None else labels[::step]


def _entropy(shares: Tensor, count: int, term: Term) -> dict[str, Any]:
    """Of so many labels, with its standard error: the spread of -log p over √n (Basharin, 1959)."""
    there = shares[shares > 0].double()
    if term.weighted:
        return {"labels": int(there.numel())}
    entropy = -(there * there.log()).sum()
    variance = (there * there.log().square()).sum() - entropy.square()
    return {
        "labels": int(there.numel()),
        "label_entropy": number(entropy),
        "label_entropy_error": number((variance.clamp(min=0) / count).sqrt()),
    }


def _of_two_classes(term: Term, scores: Tensor, target: Tensor) -> dict[str, Any]:
    logits = scores if term.kind == "bce-with-logits" else scores.clamp(1e-7, 1 - 1e-7).logit()
    loss = torch.nn.functional.softplus(logits) - target * logits
    outside = (target < -1e-6) | (target > 1 + 1e-6)
    return {
        "first_loss": number(loss.double().mean()),
        "constant_loss": math.log(2.0),
        "out_of_reach": number(outside.double().mean()),
    }


def _of_distances(term: Term, chain: Chain, scores: Tensor, target: Tensor) -> dict[str, Any]:
    about = target - target.mean(0, keepdim=True)
    away = scores - target
    squares = term.kind != "l1"
    found: dict[str, Any] = {
        "first_loss": number((away.square() if squares else away.abs()).double().mean()),
        "constant_loss": number((about.square() if squares else about.abs()).double().mean()),
    }
    if _of_length_one(scores):
        return found | _off_the_sphere(target)
    reach = _reach(chain)
    if reach is None or chain.scaled or chain.shifted or chain.logs:
        return found
    low, high = reach
    std = float(target.double().std(correction=0)) if target.numel() > 1 else 0.0
    slack = 0.05 * std + (0.02 * (high - low) if math.isfinite(high - low) else 0.0)
    outside = (target < low - slack) | (target > high + slack)
    found["out_of_reach"] = number(outside.double().mean())
    left = (target - target.clamp(low, high)).double().square().mean()
    found["unreachable"] = number(left) if std == 0 else number(left / std**2)
    last = chain.last
    if last is not None and last.kind == "softmax" and target.dim() > 1:
        found["row_sum"] = _row_sum(target, last)
    return found


def _of_length_one(scores: Tensor) -> bool:
    """Whether these are points on the unit sphere, enough of them for it to be no chance."""
    if scores.dim() != 2 or min(scores.shape) < 2 or len(scores) < _FEWEST_POINTS:
        return False
    return bool(((scores.double().norm(dim=1) - 1).abs() < 1e-3).all())


def _off_the_sphere(target: Tensor) -> dict[str, Any]:
    """How far targets lie from it, as for what an activation cannot give."""
    off = (target.double().norm(dim=1) - 1).abs()
    about = (target - target.mean(0)).double().square().sum(1).mean()
    return {
        "unit_length": True,
        "out_of_reach": number((off > _NEAR_THE_SPHERE).double().mean()),
        "unreachable": number(off.square().mean() / about) if about > 0 else None,
    }


def _row_sum(target: Tensor, softmax: Activation) -> float | None:
    """Mean sum of the targets over the units of a softmax; over the last ones if those moved."""
    whole = len(shape_of(softmax.node)) == target.dim() and softmax.dim is not None
    dim = softmax.dim if whole and softmax.dim else -1
    return number(target.double().sum(dim).mean())


def _reach(chain: Chain) -> tuple[float, float] | None:
    """What the outputs lie between, by the activation nearest to the criterion."""
    if not chain.activations:
        return None
    nearest = chain.activations[0]
    if nearest.kind in ("clamp", "hardtanh"):
        low = -math.inf if nearest.low is None else nearest.low
        high = math.inf if nearest.high is None else nearest.high
        return low, high
    return _REACH.get(nearest.kind)


def output_numbers(outputs: Sequence[Tensor]) -> tuple[TensorFacts, ...]:
    """Return the numbers of a model's outputs."""
    return tuple(tensor_facts(t) for t in outputs[:4])
