"""What the graph and the modules say of a model's layers: linear runs, dropout, strangers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.batch.chain import CHOOSING, LAYERS, PASSING
from gradflow.measurement.batch.graph import (
    MOST_NODES,
    Graph,
    Node,
    inputs_of,
    is_leaf,
    name_of,
    saved,
    saved_tensor,
)
from gradflow.measurement.hooks import tensors_in
from gradflow.measurement.preserving import plain_name
from gradflow.results.facts import LeafFacts

#: Factors that have to be there to tell a dropout.
_FACTORS = 256
#: Standard deviations that the share of zeros may be off.
_DEVIATIONS = 5.0
#: Whether torch shows that a kept tensor is a checkpoint's, which would run forward again for it.
_HOOKS_SHOWN = hasattr(torch._C._autograd.SavedTensor, "unpack_hook")
#: Nodes without a non-linearity, beside those that pass numbers on.
_LINEAR = frozenset(
    {
        "Add",
        "Sub",
        "Neg",
        "Mean",
        "Sum",
        "Cat",
        "Stack",
        "AvgPool1D",
        "AvgPool2D",
        "AvgPool3D",
        "AdaptiveAvgPool1D",
        "AdaptiveAvgPool2D",
        "AdaptiveAvgPool3D",
        "ConstantPadNd",
        "NativeDropout",
        "NativeBatchNorm",
        "MkldnnConvolution",
        "MaxPool1D",
        "MaxPool2DWithIndices",
        "MaxPool3DWithIndices",
    }
)
_NO_BEND = LAYERS | PASSING | CHOOSING | _LINEAR


def linear_runs(graph: Graph, model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Return pairs of layers of one kind with nothing but views or dropout between them.

    Not those that are linear on purpose: a narrow layer between wider ones, kernels of one pixel,
    groups of channels, a layer whose output is used elsewhere too, parts of different modules that
    were put one behind the other.
    """
    known = owners(model)
    runs = []
    for node in graph.named(*LAYERS):
        before = _layer_before(node, graph)
        if before is None:  # as of nearly all
            continue
        first, after = module_of(before, known), module_of(node, known)
        if after is None or first is None or after[0] == first[0]:
            continue
        beside = first[0].rpartition(".")[0] == after[0].rpartition(".")[0]
        if beside and _is_pair(first[1], after[1]):
            runs.append((first[0], after[0]))
    return tuple(reversed(runs))


def is_linear(sources: Sequence[Node]) -> bool:
    """Return whether two or more layers lie behind these nodes, and no non-linearity at all.

    That pooling takes the largest of its window does not count: it is no activation.
    """
    if not sources:
        return False
    layers, seen = 0, dict.fromkeys(sources)
    queue = list(seen)
    for node in queue:  # grows meanwhile; in nearly all models not far
        if len(queue) > MOST_NODES or not _is_linear(node):
            return False
        layers += name_of(node) in LAYERS
        more = [before for before, _ in inputs_of(node) if before not in seen]
        seen |= dict.fromkeys(more)
        queue += dict.fromkeys(more)
    return layers > 1 and _depth(sources) > 1


def _is_linear(node: Node) -> bool:
    name = name_of(node)
    if name in _NO_BEND or is_leaf(node):
        return True
    return name in ("Mul", "Div") and len(inputs_of(node)) == 1


def _depth(sources: Sequence[Node]) -> int:
    """How many layers with weights lie behind each other."""
    depth: dict[Node, int] = {}
    order = Graph.of(sources).nodes
    for _ in range(2):  # from the leaves on; a graph of a few nodes settles at once
        for node in reversed(order):
            below = max((depth.get(n, 0) for n, _ in inputs_of(node)), default=0)
            depth[node] = below + (name_of(node) in LAYERS)
    return max((depth[node] for node in sources if node in depth), default=0)


def owners(model: nn.Module) -> dict[int, tuple[str, nn.Module]]:
    """Return linear layers and convolutions by the ``id`` of their weight."""
    found: dict[int, tuple[str, nn.Module]] = {}
    for name, module in walks.named_parts(model):
        if type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            weight = module._parameters.get("weight")
            if weight is not None:
                found[id(weight)] = plain_name(name), module
    return found


def module_of(node: Node, known: dict[int, tuple[str, nn.Module]]) -> tuple[str, nn.Module] | None:
    """Return the module whose weight a layer's node uses, with its name."""
    for leaf in _leaves_near(node):
        if id(leaf) in known:
            return known[id(leaf)]
    return None


def _leaves_near(node: Node) -> Iterator[Tensor]:
    """Leaves that are a weight of a node, itself or transposed."""
    for before, _ in inputs_of(node):
        yield from _leaf_of(before)


def _leaf_of(node: Node) -> Iterator[Tensor]:
    """The leaf of a node, itself or transposed."""
    turned = name_of(node) in ("T", "Transpose")
    of = next((n for n, _ in inputs_of(node)), node) if turned else node
    if is_leaf(of):
        yield of.variable


def _layer_before(node: Node, graph: Graph) -> Node | None:
    """The layer that a layer's input comes from, with views and dropout alone between them."""
    for start in graph.before[node]:
        before: Node | None = start
        while before is not None and graph.users.get(before, 0) == 1:
            name = name_of(before)
            if name in LAYERS:
                return before
            following = graph.before.get(before, ())
            passes = name in PASSING or name in ("NativeDropout", "Mul")
            before = following[0] if passes and len(following) == 1 else None
    return None


def _is_pair(first: nn.Module, after: nn.Module) -> bool:
    """Whether nothing is gained by the first layer of two."""
    if isinstance(first, nn.Linear) and isinstance(after, nn.Linear):
        return first.out_features >= min(first.in_features, after.out_features)
    if type(first) is not type(after) or isinstance(first, nn.Linear):
        return False
    return all(max(_kernel(m)) > 1 and getattr(m, "groups", 1) == 1 for m in (first, after))


def _kernel(module: nn.Module) -> tuple[int, ...]:
    size: tuple[int, ...] = getattr(module, "kernel_size", (1,))
    return size


def unregistered(graph: Graph, model: nn.Module, known: frozenset[int]) -> list[LeafFacts]:
    """Return the weights in a graph that are no parameters of the model, nor otherwise known.

    A plain tensor is one if a part of the model holds it and multiplies by it, as ``self.w``.
    """
    strange = foreign(graph, model, known)
    if any(not isinstance(t, nn.Parameter) for t in strange):
        weights = _held(model) & _multiplied_by(graph)
        strange = [t for t in strange if isinstance(t, nn.Parameter) or id(t) in weights]
    return [LeafFacts(tuple(t.shape), t.numel()) for t in strange]


def foreign(graph: Graph, model: nn.Module, known: frozenset[int]) -> list[Tensor]:
    """Return the leaves of a graph that are no parameters of the model, nor otherwise known."""
    own = {id(p) for p in walks.parameters(model)} | known
    return [t for t in graph.leaves if id(t) not in own]


def _held(model: nn.Module) -> set[int]:
    """Plain tensors among the attributes of a model's parts, in lists and dictionaries too."""
    own = (vars(part).items() for part in walks.parts(model))
    values = [value for items in own for name, value in items if not name.startswith("_")]
    return {id(tensor) for tensor in tensors_in(values, depth=3)}


def _multiplied_by(graph: Graph) -> set[int]:
    """Leaves that stand where a weight does: a product's second factor, itself or transposed."""
    found = set()
    for node in graph.named("Mm", "Addmm", "Bmm", "Convolution"):
        edges = node.next_functions
        place = 2 if name_of(node) == "Addmm" else 1
        if len(edges) > place and edges[place][0] is not None:
            found |= {id(leaf) for leaf in _leaf_of(edges[place][0])}
    return found


def dropout_of(model: nn.Module, graph: Graph) -> tuple[float, int]:
    """Return the largest probability of a dropout that is on, and how many are 0.9 or more.

    One that the model calls as a function is told by what it multiplies with: 0 and 1/(1 - p).
    """
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    modules = [m.p for m in walks.parts(model) if isinstance(m, kinds) and m.training]
    calls = _dropouts(graph)  # on most devices those of the modules too
    most = max(sum(p >= 0.9 for p in some) for some in (modules, calls))
    return max((*modules, *calls), default=0.0), most


def _dropouts(graph: Graph) -> list[float]:
    """The probabilities of dropouts with a layer behind them: a loss may be masked likewise."""
    layers = graph.named("Addmm", "Mm", "Bmm", "Convolution")
    last = max((node._sequence_nr() for node in layers), default=-1)
    found = [saved(node, "p") for node in graph.named("NativeDropout")]
    if _HOOKS_SHOWN or "torch.utils.checkpoint" not in sys.modules:
        products = (node for node in graph.named("Mul") if node._sequence_nr() < last)
        found += [_dropped(saved_tensor(node, "other")) for node in products]
    return [p for p in found if p is not None]


def _dropped(factor: Tensor | None) -> float | None:
    """The probability of the dropout whose factors these are, if they are one's."""
    if factor is None or factor.dim() == 0 or factor.numel() < _FACTORS:
        return None
    some = factor.reshape(-1)[: 16 * _FACTORS]
    if len({*some[:8].tolist(), 0.0}) > 2:  # as of nearly all products
        return None
    largest = float(some.max())
    either = bool(((some == 0) | (some == largest)).all())
    if not either or largest <= 1:
        return None
    p, share = 1 - 1 / largest, float((some == 0).double().mean())
    likely = abs(share - p) <= _DEVIATIONS * math.sqrt(p * (1 - p) / len(some))
    return p if likely else None
