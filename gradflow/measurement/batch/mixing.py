"""Whether what a criterion judges of one example depends on the others, read off the graph.

Only where every operation on the way is known: of graph networks, contrastive losses and
whatever else mixes on purpose nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradflow.measurement.batch.axes import Lost, Lying, Neutral, State
from gradflow.measurement.batch.graph import Graph, Node, is_leaf, name_of, saved_tensor
from gradflow.measurement.batch.operations import output_of
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.terms import Term
from gradflow.results.facts import MixingFacts

#: Examples below which nothing is said.
_FEWEST = 4
#: Nodes of a graph beyond which nothing is said, for time.
_MOST_NODES = 6_000
#: Entries of an input that are compared with what a layer was given.
_MOST_COMPARED = 2**20
#: What a layer keeps of its input, by its node: the place among its inputs, and the name.
_KEPT = {
    "Addmm": (1, "mat1"),
    "Mm": (0, "self"),
    "Convolution": (0, "input"),
    "MkldnnConvolution": (0, "input"),
    "MkldnnRnnLayer": (0, "input"),
    "CudnnRnn": (0, "input"),
    "Embedding": (0, "indices"),
}


@dataclass(frozen=True)
class Inputs:
    """The inputs of a model, and the axis of the examples in each.

    Attributes
    ----------
    sure
        Whether no other axis is as long.
    wide
        Whether there is a second axis along which a recurrence may go.
    """

    count: int
    tensors: tuple[tuple[Tensor, int], ...]
    sure: bool
    wide: bool


def mixing_of(term: Term, seen: SeenBatch, graph: Graph | None = None) -> MixingFacts | None:
    """Return what mixes the examples in what a criterion judges; None: nothing, or not known.

    Parameters
    ----------
    graph
        From what it judges to the model's inputs, where that is known.
    """
    shape = _shape_judged(term)
    inputs = None if shape is None or term.source is None else _inputs(seen, shape)
    if inputs is None or shape is None or term.source is None or term.expanded is not None:
        return None
    found = _mixing(_known(term.source, inputs, graph))
    if found is None or (found.how in ("Recurrence", "Attention") and not inputs.wide):
        return None
    return replace(found, sure=inputs.sure)


def _mixing(state: State) -> MixingFacts | None:
    if isinstance(state, Lost):
        return state.mixing
    if not isinstance(state, Lying):
        return None
    return state.mixing or (None if state.axis == 0 else MixingFacts("View", 0, state.shape))


def _shape_judged(term: Term) -> tuple[int, ...] | None:
    """Return the shape of the targets, if there is one for each row of what is judged."""
    if term.scores is None and term.difference is not None:
        return tuple(term.difference.shape)
    if term.scores is None or term.target is None or not term.target.dim():
        return None
    same = term.scores.dim() and len(term.scores) == len(term.target)
    return tuple(term.target.shape) if same else None


def _inputs(seen: SeenBatch, target: tuple[int, ...]) -> Inputs | None:
    """Find the axis of the examples: the one that is as long as there are targets."""
    count = target[0] if target else 0
    found, sure, wide = [], True, False
    for tensor in seen.inputs:
        axes = [axis for axis, size in enumerate(tensor.shape) if size == count]
        if not axes or axes[0] > 1 or _is_sequence(tensor, target):
            return None
        found.append((tensor, axes[0]))
        sure &= len(axes) == 1
        steps = tensor.dim() > 2 or (tensor.dim() == 2 and not tensor.is_floating_point())
        wide |= steps and min(tensor.shape[:2]) > 1
    if count < _FEWEST or not found or (not sure and len(found) > 1):
        return None
    return Inputs(count, tuple(found), sure, wide)


def _is_sequence(tensor: Tensor, target: tuple[int, ...]) -> bool:
    """Whether the targets share a second axis with the input: either may be the examples'."""
    steps = tensor.dim() > 2 or not tensor.is_floating_point()
    return steps and len(target) > 1 and tensor.dim() > 1 and tensor.shape[1] == target[1] > 1


def _known(source: Node, inputs: Inputs, graph: Graph | None) -> State:
    """Return what is known of the output of a node, from the inputs on."""
    outside = {t.grad_fn: (t, axis) for t, axis in inputs.tensors if t.grad_fn is not None}
    graph = graph or Graph.of([source], stop=outside)
    if len(graph.nodes) > _MOST_NODES or not graph.complete:
        return None
    made: dict[tuple[Node, int], State] = {}
    for node, (tensor, axis) in outside.items():
        made[node, 0] = _whole(tensor, axis, inputs)
    given: dict[Node, list[State]] = {}

    def output(node: Node, place: int) -> State:
        key = node, place
        if key not in made:
            made[key] = output_of(node, place, given.get(node, ()))
        return made[key]

    nothing = Neutral()
    for node in _in_turn(graph):
        edges = graph.edges[node]
        if not edges and is_leaf(node):
            made[node, 0] = _as_given(node.variable, inputs) or nothing
            continue
        states = [nothing if n is None else output(n, i) for n, i in edges]
        given[node] = _with_entry(node, edges, states, inputs)
    return output(source, 0)


def _in_turn(graph: Graph) -> list[Node]:
    """Return the nodes as they were made; leaves come first."""
    leaves = [node for node in graph.nodes if not graph.edges[node] and is_leaf(node)]
    others = [node for node in graph.nodes if graph.edges[node] or not is_leaf(node)]
    return leaves + sorted(others, key=lambda node: int(node._sequence_nr()))


def _whole(tensor: Tensor, axis: int, inputs: Inputs) -> Lying:
    shape = tuple(tensor.shape)
    return Lying.at(Lying(shape, 1, inputs.count), shape, axis)


def _with_entry(
    node: Node, edges: Sequence[tuple[Node, int]], states: list[State], inputs: Inputs
) -> list[State]:
    """Add what is known of an input of the model, or what was made of it, where it enters."""
    name = name_of(node)
    place, kept = _KEPT.get(name, (0, ""))
    if name == "Embedding":
        indices = saved_tensor(node, kept)
        return [None if indices is None else _looked_up(_entry(indices, inputs), node)]
    enters = kept and place < len(states) and edges[place][0] is None
    if not enters:
        return states
    data = saved_tensor(node, kept)
    found = None if data is None else _entry(data, inputs)
    return [*states[:place], found, *states[place + 1 :]]


def _looked_up(state: State, node: Node) -> State:
    """Each index becomes a row."""
    width = node._input_metadata[0].shape[-1]
    if isinstance(state, Lying):
        return replace(state, shape=(*state.shape, width), stride=state.stride * width)
    return state


def _entry(data: Tensor, inputs: Inputs) -> State:
    """What is known of a tensor that a layer was given: an input, or what was made of it."""
    found = _as_given(data, inputs)
    if found is not None:
        return found
    if bool((data == data.reshape(-1)[:1]).all()):  # zeros, with which a recurrence begins
        return Neutral()
    axes = [axis for axis, size in enumerate(data.shape) if size == inputs.count]
    if len(axes) != 1:  # without one it is a state that a recurrence begins with, or the like
        return None if axes else Neutral()
    return _whole(data, axes[0], inputs)


def _as_given(data: Tensor, inputs: Inputs) -> State:
    """What is known of a tensor that holds the numbers of an input; None if it holds others."""
    for tensor, axis in inputs.tensors:
        if tensor.numel() == data.numel() <= _MOST_COMPARED and tensor.dtype == data.dtype:
            found = _same_numbers(data.detach(), tensor, axis, inputs)
            if found is not None:
                return found
    return None


def _same_numbers(data: Tensor, tensor: Tensor, axis: int, inputs: Inputs) -> State:
    """The same numbers in another shape or order; or in one that tears the examples apart."""
    shape, of = tuple(data.shape), _whole(tensor, axis, inputs)
    if torch.equal(data, tensor.reshape(shape)):
        return replace(of, shape=shape)
    if tensor.dim() < 3:
        return None
    turned = tensor.transpose(0, 1)
    if torch.equal(data, turned.reshape(shape)):
        return replace(_whole(turned, 1 - axis, inputs), shape=shape)
    wrong = tensor.reshape(turned.shape)
    if torch.equal(data, wrong.reshape(shape)) or torch.equal(
        data, wrong.transpose(0, 1).reshape(shape)
    ):
        return Lost(MixingFacts("View", 0, tuple(wrong.shape)))
    return None
