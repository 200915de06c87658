"""What the gradients of one batch add to its facts: copies of units, and the first update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradflow.measurement.batch.chain import PASSING
from gradflow.measurement.batch.graph import Graph, Node, inputs_of, name_of, saved_tensor
from gradflow.measurement.batch.layers import module_of, owners
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.tensors import number, real
from gradflow.measurement.preserving import plain_name
from gradflow.results.facts import BatchFacts, FirstLayerFacts, UpdateFacts

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
#: Optimizers whose first step is as long for every gradient, with that length over the rate.
_OF_UNIT_STEPS = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "RMSprop", "Lion")


def gradient_facts(facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients) -> BatchFacts:
    """Return the facts with those of the gradients; called after the backward pass.

    Changes nothing and never raises.
    """
    try:
        with torch.no_grad():
            symmetric = tuple(_symmetric(seen.model, gradient_of))
            facts = replace(facts, symmetric=symmetric)
            return replace(facts, update=_update(facts, seen, gradient_of))
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


def _update(facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients) -> UpdateFacts | None:
    """What the first update does, to first order."""
    lr, kind = seen.lr, None if seen.optimizer is None else type(seen.optimizer).__name__
    if lr is None or (kind is not None and kind not in ("SGD", *_OF_UNIT_STEPS)):
        return None
    ratios = []
    for name, parameter in seen.model.named_parameters():
        gradient = gradient_of.get(id(parameter))
        if gradient is not None and _counts(parameter):
            step = _step(lr, kind, seen, gradient)
            ratio = number(step.norm() / real(parameter).norm())
            ratios += [] if ratio is None else [(ratio, plain_name(name))]
    relative, layer = max(ratios, default=(None, None))
    moved = _moved(facts, seen, lr, kind, gradient_of)
    return UpdateFacts(kind, lr, relative, layer, moved)


def _counts(parameter: Tensor) -> bool:
    """Whether it is a matrix that does not start near 0 on purpose."""
    if parameter.dim() < 2 or not parameter.numel():
        return False
    fan_in = parameter.numel() / len(parameter)
    return float(real(parameter).square().mean().sqrt()) * math.sqrt(fan_in) > _SMALL


def _step(lr: float, kind: str | None, seen: SeenBatch, gradient: Tensor) -> Tensor:
    """The first update of a parameter."""
    gradient = real(gradient)
    if kind is None or kind == "SGD":
        return lr / seen.scale * gradient
    longer = 1.0
    if kind == "RMSprop" and seen.optimizer is not None:
        longer = 1 / math.sqrt(max(1 - seen.optimizer.defaults.get("alpha", 0.99), 1e-12))
    return lr * longer * gradient.sign()


def _moved(
    facts: BatchFacts, seen: SeenBatch, lr: float, kind: str | None, gradient_of: Gradients
) -> float | None:
    """By how much the first update moves what the first layer makes of the inputs."""
    if facts.first_layer is None:
        return None
    layer = dict(seen.model.named_modules()).get(facts.first_layer.name)
    weight = None if layer is None else layer._parameters.get("weight")
    gradient = None if weight is None else gradient_of.get(id(weight))
    if gradient is None:
        return None
    same = [t for t in seen.inputs if t.is_floating_point() and t.dim() > 0]
    taken = next((t for t in same if t.shape[-1] == gradient.shape[1]), None)
    if taken is None:
        taken = next((t.flatten(1) for t in same if t[0].numel() == gradient.shape[1]), None)
    if taken is None:
        return None
    return number((_rows(taken) @ _step(lr, kind, seen, gradient).T).square().mean().sqrt())
