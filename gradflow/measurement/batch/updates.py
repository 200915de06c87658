"""What the gradients of one batch add to its facts: copies of units, and the first update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.batch.chain import ACTIVATIONS, PASSING
from gradflow.measurement.batch.graph import Graph, Node, is_leaf, name_of, saved_tensor
from gradflow.measurement.batch.layers import module_of, owners
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.tensors import (
    channels,
    deviations,
    looked_at,
    number,
    real,
    rms,
)
from gradflow.measurement.norms import read_norms
from gradflow.measurement.preserving import plain_name
from gradflow.measurement.stats import count_nonzero
from gradflow.results.facts import BatchFacts, FirstLayerFacts, StepFacts, UpdateFacts

#: Gradients of the trained parameters, by ``id``.
Gradients = Mapping[int, Tensor | None]
#: Norms of parameters and their gradients that are known already, by ``id``.
Norms = Mapping[int, tuple[float, float]]

#: Rows of the input that are looked at.
_ROWS = 256
#: Images that a convolution is given again.
_IMAGES = 8
#: Distance from 0 beyond which sigmoid and tanh are on a plateau.
_PLATEAU = 4.0
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


def gradient_facts(
    facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients, norms: Norms | None = None
) -> BatchFacts:
    """Return the facts with those of the gradients; called after the backward pass.

    Changes nothing and never raises.
    """
    try:
        with torch.no_grad():
            symmetric = tuple(_symmetric(seen.model, gradient_of))
            facts = replace(facts, symmetric=symmetric)
            sizes = _sizes(seen.model, gradient_of, norms or {})
            plain = _step(
                facts,
                seen,
                gradient_of,
                [size.plain(seen.scale) for size in sizes],
                lambda g: real(g) / seen.scale,
            )
            unit = _step(facts, seen, gradient_of, _units(sizes), lambda g: real(g).sign())
            facts = replace(facts, plain_step=plain, unit_step=unit)
            kind = None if seen.optimizer is None else type(seen.optimizer).__name__
            return with_optimizer(facts, kind, seen.lr)
    except Exception:  # as of the other facts
        return facts


def _symmetric(model: nn.Module, gradient_of: Gradients) -> Iterator[str]:
    """Names of layers whose units have one and the same weights and gradient."""
    for name, module in walks.named_parts(model):
        if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            continue
        weight = module._parameters.get("weight")
        gradient = None if weight is None else gradient_of.get(id(weight))
        if gradient is None:
            continue
        assert weight is not None
        if len(weight) < 2 or not torch.equal(weight[0], weight[1]):  # as in nearly all
            continue
        if not bool((weight[:1] == weight).all()):
            continue
        largest = float(gradient.abs().max())
        apart = float((gradient - gradient[:1]).abs().max())
        if largest > 0 and apart <= _ROUNDING * largest:
            yield plain_name(name)


def first_layer(graph: Graph, seen: SeenBatch) -> FirstLayerFacts | None:
    """Return what is known of the layer that takes an input as it is; None without one."""
    known = owners(seen.model) | _recurrent(seen.model)
    given = [t for t in seen.inputs if t.is_floating_point()]
    for node in graph.nodes:
        taken = _input_of(node, graph.edges[node], given)
        if taken is None or not any(_same(taken, one) for one in given):
            continue
        found = module_of(node, known)
        if found is not None:
            return _described(*found, taken, _followed(graph, node))
    return None


def _same(taken: Tensor, given: Tensor) -> bool:
    """Whether a layer takes an input as it is, or turned round in memory of its own."""
    if _storage(taken) == _storage(given):
        return True
    if taken.numel() != given.numel() or taken.dtype != given.dtype or not taken.numel():
        return False
    return bool(taken.min() == given.min()) and bool(taken.max() == given.max())


def _recurrent(model: nn.Module) -> dict[int, tuple[str, nn.Module]]:
    """Recurrent layers by the ``id`` of the weight that takes their input."""
    return {
        id(module.weight_ih_l0): (plain_name(name), module)
        for name, module in walks.named_parts(model)
        if isinstance(module, nn.RNNBase)
    }


#: Nodes of layers, by the place of their input among the edges and its name.
_INPUTS = {
    "Addmm": (1, "mat1"),
    "Mm": (0, "self"),
    "Convolution": (0, "input"),
    "MkldnnRnnLayer": (0, "input"),
}


def _input_of(
    node: Node, edges: Sequence[tuple[Node | None, int]], given: Sequence[Tensor]
) -> Tensor | None:
    """What a layer's node was given, where that takes no gradient of the user's."""
    place, name = _INPUTS.get(name_of(node), (0, ""))
    if not name or len(edges) <= place or not _is_data(edges[place][0], given):
        return None
    return saved_tensor(node, name)


def _is_data(node: Node | None, given: Sequence[Tensor]) -> bool:
    """Whether nothing is behind an input, or what stands for it to see a recurrence's gradient."""
    while node is not None and name_of(node) in PASSING:
        node = node.next_functions[0][0]
    if node is None:
        return True
    if not is_leaf(node) or any(node.variable is one for one in given):
        return False
    return any(_storage(node.variable) == _storage(one) for one in given)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _made(layer: nn.Module, weight: Tensor, taken: Tensor) -> Tensor:
    """What a layer makes of a few examples with a weight, without a bias; channels last."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        few = real(taken)[:_IMAGES]
        made: Tensor = layer._conv_forward(few, weight, None)
        return made.movedim(1, -1).flatten(0, -2)
    return _rows(taken) @ weight.T


def _followed(graph: Graph, node: Node) -> tuple[bool, str | None]:
    """Whether a normalisation takes a layer's output, and which activation does."""
    made = [node]
    for _ in range(3):
        after = graph.after(made)
        names = {name_of(n) for n in after}
        if names & _NORMS:
            return True, None
        found = next((ACTIVATIONS[n] for n in names if n in ACTIVATIONS), None)
        if found is not None:
            return False, found
        made = [n for n in after if name_of(n) in PASSING]
    return False, None


def _described(
    name: str, layer: nn.Module, taken: Tensor, followed: tuple[bool, str | None]
) -> FirstLayerFacts:
    weight = real(_weight(layer))
    made = _made(layer, weight, taken)
    rows = channels(real(looked_at(taken))) if taken.dim() > 2 else _rows(taken)
    mean, std = rows.mean(0), deviations(rows)
    normalised, activation = followed
    return FirstLayerFacts(
        name,
        spread=number(rms(deviations(made))),
        input_offset=number(rms(mean)),
        input_spread=number(rms(std)),
        weight_gain=number(rms(weight) * math.sqrt(weight[0].numel())),
        normalised=normalised,
        activation="tanh" if isinstance(layer, nn.RNNBase) else activation,
        saturated=number((made.abs() > _PLATEAU).double().mean()),
    )


def _weight(layer: nn.Module) -> Tensor:
    """The weight that takes a layer's input."""
    found = layer._parameters.get("weight", layer._parameters.get("weight_ih_l0"))
    assert found is not None
    return found


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


@dataclass(frozen=True)
class _Sized:
    """A matrix whose step is looked at: its norm, its gradient and the norm of that."""

    name: str
    gradient: Tensor
    size: float
    norm: float

    def plain(self, scale: float) -> tuple[float | None, str]:
        """Return the relative length of a step along the gradient, and the name."""
        length = self.norm / scale / self.size
        return (length if math.isfinite(length) else None), self.name

    def longest(self) -> float:
        """Return what a step along its signs is no longer than."""
        parts = 2 if self.gradient.is_complex() else 1
        return math.sqrt(parts * self.gradient.numel()) / self.size

    def unit(self) -> tuple[float, str]:
        """Return the relative length of a step along its signs."""
        sparse = self.gradient.is_sparse
        values = self.gradient.coalesce().values() if sparse else self.gradient
        entries = int(count_nonzero(real(values).reshape(1, -1)))
        return math.sqrt(entries) / self.size, self.name


def _units(sizes: Sequence[_Sized]) -> list[tuple[float, str]]:
    """Return what `_Sized.unit` gives, of those that may be the longest: it reads every entry."""
    found: list[tuple[float, str]] = []
    known = (size for size in sizes if not math.isnan(size.norm))
    for size in sorted(known, key=_Sized.longest, reverse=True):
        if found and size.longest() < max(found)[0]:
            break
        found.append(size.unit())
    return found


def _sizes(model: nn.Module, gradient_of: Gradients, norms: Norms) -> list[_Sized]:
    """Return the matrices whose step is looked at: none that starts near 0 on purpose."""
    named = ((n, gradient_of.get(id(p)), p) for n, p in walks.named_parameters(model))
    there = [(n, g, p) for n, g, p in named if g is not None and p.dim() >= 2 and p.numel()]
    unknown = [(g, p) for _, g, p in there if id(p) not in norms]
    sizes = map(float, read_norms([p.detach() for _, p in unknown]))
    lengths = map(float, read_norms([g for g, _ in unknown]))
    found = {id(p): n for (_, p), *n in zip(unknown, sizes, lengths, strict=True)}
    known = {**found, **norms}
    return [
        _Sized(plain_name(name), gradient, *known[id(p)])
        for name, gradient, p in there
        if known[id(p)][0] > _SMALL * math.sqrt(len(p))
    ]


def _step(
    facts: BatchFacts,
    seen: SeenBatch,
    gradient_of: Gradients,
    lengths: Sequence[tuple[float | None, str]],
    along: Callable[[Tensor], Tensor],
) -> StepFacts:
    """What a step of learning rate 1 along `along(gradient)` does, whose lengths are known."""
    known = [(length, name) for length, name in lengths if length is not None]
    relative, layer = max(known, default=(None, None))
    return StepFacts(relative, layer, _moved(facts, seen, gradient_of, along))


def _moved(
    facts: BatchFacts, seen: SeenBatch, gradient_of: Gradients, along: Callable[[Tensor], Tensor]
) -> float | None:
    """By how much a step moves what the first layer makes of the inputs."""
    if facts.first_layer is None:
        return None
    layer = dict(walks.named_parts(seen.model)).get(facts.first_layer.name)
    gradient = None if layer is None else gradient_of.get(id(_weight(layer)))
    if layer is None or gradient is None:
        return None
    step = along(gradient)
    for taken in (t for t in seen.inputs if t.is_floating_point() and t.dim() > 1):
        for shaped in (taken, taken.flatten(1), taken.unsqueeze(-1), taken.unsqueeze(1)):
            made = _tried(layer, step, shaped)
            if made is not None:
                return number(rms(made))
    return None


def _tried(layer: nn.Module, weight: Tensor, taken: Tensor) -> Tensor | None:
    """What a layer makes of an input; None if it takes another one, or another shape."""
    try:
        return _made(layer, weight, taken)
    except RuntimeError:
        return None
