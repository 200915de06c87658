"""What the gradients of one batch add to its facts: copies of units, and the first update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradflow.measurement.batch.chain import PASSING
from gradflow.measurement.batch.graph import Graph, Node, inputs_of, name_of, saved_tensor
from gradflow.measurement.batch.layers import module_of, owners
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.tensors import number, real
from gradflow.measurement.preserving import plain_name
from gradflow.results.facts import BatchFacts, FirstLayerFacts, StepFacts, UpdateFacts

#: Gradients of the trained parameters, by ``id``.
Gradients = Mapping[int, Tensor | None]

#: Rows of the input that are looked at.
_ROWS = 256
#: Difference between gradients of copies, over the largest, that rounding explains.
_ROUNDING = 1e-5
#: rms of a weight times the root of its fan-in below which it starts near 0 on purpose.
_SMALL = 0.05
#: Normalisations, by the node that undoes them.
_NORMS = frozenset({"NativeBatchNorm", "CudnnBatchNorm", "NativeLayerNorm", "NativeGroupNorm"})
#: Optimizers whose first step is as long for every gradient: its length over the learning rate.
_LENGTHS = {
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Lion"), 1.0),
    "RMSprop": 10.0,  # of a squared gradient whose mean starts at 0, with its default α
}


def gradient_facts(facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients) -> BatchFacts:
    """Return the facts with those of the gradients; called after the backward pass.

    Changes nothing and never raises.
    """
    try:
        with torch.no_grad():
            symmetric = tuple(_symmetric(seen.model, gradient_of))
            facts = replace(facts, symmetric=symmetric)
            plain = _step(facts, seen, gradient_of, lambda g: real(g) / seen.scale)
            unit = _step(facts, seen, gradient_of, lambda g: real(g).sign())
            facts = replace(facts, plain_step=plain, unit_step=unit)
            kind = None if seen.optimizer is None else type(seen.optimizer).__name__
            return with_optimizer(facts, kind, seen.lr)
    except Exception:  # as of the other facts
        return facts


def _symmetric(model: nn.Module, gradient_of: Gradients) -> Iterator[str]:
    """Names of layers whose units have one and the same weights and gradient."""
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        gradient = None if weight is None else gradient_of.get(id(weight))
        if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd) or gradient is None:
            continue
        assert weight is not None
        if len(weight) < 2 or not bool((weight[:1] == weight).all()):
            continue
        largest = float(gradient.abs().max())
        apart = float((gradient - gradient[:1]).abs().max())
        if largest > 0 and apart <= _ROUNDING * largest:
            yield plain_name(name)


def first_layer(graph: Graph, seen: SeenBatch) -> FirstLayerFacts | None:
    """Return what is known of the linear layer that takes an input as it is; None without one."""
    known = owners(seen.model)
    places = {t.untyped_storage().data_ptr() for t in seen.inputs if t.is_floating_point()}
    for node in graph.nodes:
        taken = _input_of(node)
        if taken is None or taken.untyped_storage().data_ptr() not in places:
            continue
        found = module_of(node, known)
        if found is None or not isinstance(found[1], nn.Linear):
            continue
        return _described(found[0], found[1], taken, _followed(graph, node))
    return None


def _input_of(node: Node) -> Tensor | None:
    """What a linear layer's node was given, where that takes no gradient."""
    name = name_of(node)
    if name == "Addmm":
        edges = node.next_functions
        return saved_tensor(node, "mat1") if len(edges) > 1 and edges[1][0] is None else None
    if name == "Mm" and node.next_functions[0][0] is None:
        return saved_tensor(node, "self")
    return None


def _followed(graph: Graph, node: Node) -> bool:
    """Whether a normalisation takes a layer's output."""
    made = {node}
    for _ in range(3):
        after = [n for n in graph.nodes if any(b in made for b, _ in inputs_of(n))]
        if any(name_of(n) in _NORMS for n in after):
            return True
        made = {n for n in after if name_of(n) in PASSING}
    return False


def _described(name: str, layer: nn.Linear, taken: Tensor, normalised: bool) -> FirstLayerFacts:
    rows = _rows(taken)
    weight = real(layer.weight)
    made = rows @ weight.T
    mean, std = rows.mean(0), rows.std(0, correction=0)
    return FirstLayerFacts(
        name,
        spread=number(made.std(0, correction=0).square().mean().sqrt()),
        input_offset=number(mean.square().mean().sqrt()),
        input_spread=number(std.square().mean().sqrt()),
        weight_gain=number(weight.square().mean().sqrt() * math.sqrt(weight.shape[1])),
        normalised=normalised,
    )


def _rows(taken: Tensor) -> Tensor:
    rows = real(taken).reshape(-1, taken.shape[-1])
    return rows[:: math.ceil(len(rows) / _ROWS)]


def with_optimizer(facts: BatchFacts, kind: str | None, lr: float | None) -> BatchFacts:
    """Return the facts with what the first update of an optimizer does.

    Parameters
    ----------
    kind
        Name of its class; None: plain gradient descent is meant.
    """
    plain = kind in (None, "SGD")
    step = facts.plain_step if plain else facts.unit_step if kind in _LENGTHS else None
    if step is None or lr is None:
        return facts
    length = lr * (1.0 if kind is None else _LENGTHS.get(kind, 1.0))
    update = UpdateFacts(
        kind,
        lr,
        None if step.relative is None else length * step.relative,
        step.layer,
        None if step.moved is None else length * step.moved,
    )
    return replace(facts, update=update)


def _step(
    facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients, along: Callable[[Tensor], Tensor]
) -> StepFacts:
    """What a step of learning rate 1 along `along(gradient)` does."""
    ratios = []
    for name, parameter in seen.model.named_parameters():
        gradient, size = gradient_of.get(id(parameter)), _size(parameter)
        if gradient is not None and size:
            ratio = number(along(gradient).norm() / size)
            ratios += [] if ratio is None else [(ratio, plain_name(name))]
    relative, layer = max(ratios, default=(None, None))
    return StepFacts(relative, layer, _moved(facts, seen, gradient_of, along))


def _size(parameter: Tensor) -> float:
    """The norm of a matrix; 0 for one that starts near 0 on purpose, and for vectors."""
    if parameter.dim() < 2 or not parameter.numel():
        return 0.0
    size = float(real(parameter).norm())
    return size if size > _SMALL * math.sqrt(len(parameter)) else 0.0


def _moved(
    facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients, along: Callable[[Tensor], Tensor]
) -> float | None:
    """By how much a step moves what the first layer makes of the inputs."""
    if facts.first_layer is None:
        return None
    layer = dict(seen.model.named_modules()).get(facts.first_layer.name)
    weight = None if layer is None else layer._parameters.get("weight")
    gradient = None if weight is None else gradient_of.get(id(weight))
    if gradient is None:
        return None
    step = along(gradient)
    same = [t for t in seen.inputs if t.is_floating_point() and t.dim() > 0]
    taken = next((t for t in same if t.shape[-1] == step.shape[1]), None)
    if taken is None:
        taken = next((t.flatten(1) for t in same if t[0].numel() == step.shape[1]), None)
    if taken is None:
        return None
    return number((_rows(taken) @ step.T).square().mean().sqrt())
