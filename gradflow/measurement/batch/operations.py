"""What operations do to the place of the examples: from those of the inputs to the output's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from gradflow.measurement.batch.axes import Lost, Lying, Neutral, One, Pairs, Shape, State, joined
from gradflow.measurement.batch.graph import Node, name_of, saved, shape_of, signed
from gradflow.results.facts import MixingFacts


class Made(NamedTuple):
    """An output of a node: the node, which of its outputs, and of what shape that is."""

    node: Node
    place: int
    shape: Shape

    @property
    def name(self) -> str:
        """Of the operation."""
        return name_of(self.node)


#: From an output, and what is known of the inputs, to what is known of it.
Rule = Callable[[Made, Sequence[State]], State]


_NEUTRAL = {Neutral}


def output_of(node: Node, place: int, given: Sequence[State]) -> State:
    """Return what is known of an output of a node, from what is known of its inputs."""
    rule = _RULES.get(name_of(node))
    neutral = _NEUTRAL.issuperset(map(type, given))
    if neutral and given and rule not in (_stacked, _attention):  # as what is made of weights
        return given[0]
    if rule is not None:
        return rule(Made(node, place, shape_of(node, place)), given)
    return None


def _same(made: Made, given: Sequence[State]) -> State:
    return joined(list(given), made.shape)


def _first(made: Made, given: Sequence[State]) -> State:
    """Of the first input alone: the others are weights."""
    return _same(made, given[:1])


def lies(rule: Callable[[Made, Lying], State]) -> Rule:
    """Make a rule of one for an input whose examples lie somewhere; others are passed on."""

    def whole(made: Made, given: Sequence[State]) -> State:
        data = given[0]
        if isinstance(data, Pairs):
            return _of_pairs(made, data)
        if isinstance(data, Lying) and data.torn and made.name not in _VIEWS:
            return Lost(MixingFacts("View", 0, data.shape))
        return rule(made, data) if isinstance(data, Lying) else data

    return whole


def _of_pairs(made: Made, data: Pairs) -> State:
    name = made.name
    if name in _VIEWS or name == "Expand":
        same = made.shape[-2:] == data.of.shape[-2:]
        return Pairs(Lying.at(data.of, made.shape, len(made.shape) - 2)) if same else None
    over_the_last = name in _SOFTMAX and _dims(made.node, len(made.shape)) == {len(made.shape) - 1}
    return data if over_the_last else None


def _dims(node: Node, rank: int) -> set[int] | None:
    """Return the axes that an operation runs over; None where that is not known."""
    found = saved(node, "dim")
    if found is None:
        return None
    numbers = [found] if isinstance(found, int) else list(found)
    return {signed(int(n)) % rank if rank else 0 for n in numbers} or set(range(rank))


@lies
def _view(made: Made, data: Lying) -> State:
    if math.prod(made.shape) != math.prod(data.shape):
        return None
    return data.viewed(made.shape)


@lies
def _moved(made: Made, data: Lying) -> State:
    """Transposed or permuted."""
    order, at = _order(made.node, len(data.shape)), data.place
    if order is None or at is None or sorted(order) != list(range(len(data.shape))):
        return None
    return Lying.at(data, made.shape, order.index(at[0]), at[1])


def _order(node: Node, rank: int) -> list[int] | None:
    order, name = list(range(rank)), name_of(node)
    if name == "Permute":
        return [signed(int(n)) % rank for n in saved(node, "dims")]
    one, other = (0, 1) if name == "T" else (saved(node, "dim0"), saved(node, "dim1"))
    if rank < 2 or one is None or other is None:
        return None
    one, other = signed(one) % rank, signed(other) % rank
    order[one], order[other] = order[other], order[one]
    return order


@lies
def _expanded(made: Made, data: Lying) -> State:
    return data.broadcast(made.shape)


@lies
def _chosen(made: Made, data: Lying) -> State:
    """One of an axis' entries: of that of the examples, an example."""
    at, dims = data.place, _dims(made.node, len(data.shape))
    if at is None or dims is None:
        return None
    (dim,) = dims
    if dim != at[0]:
        return Lying.at(data, made.shape, at[0] - (dim < at[0]), at[1])
    if data.mixing is not None:
        return Lost(data.mixing)
    if data.axis is None:
        return None
    index = made.place if made.name == "Unbind" else signed(int(saved(made.node, "index")))
    number = index % data.count
    return One(number, number)


@lies
def _part(made: Made, data: Lying) -> State:
    """A part of an axis, but not of that of the examples."""
    at = data.place
    if at is None or len(made.shape) != len(data.shape) or made.shape[at[0]] != data.shape[at[0]]:
        return None
    return Lying.at(data, made.shape, *at)


@lies
def _first_axis(made: Made, data: Lying) -> State:
    """What acts on every entry of the first axis alone, as convolution and pooling do."""
    at = data.place
    if at is None or at[0] != 0 or not made.shape or made.shape[0] != data.shape[0]:
        return None
    return Lying.at(data, made.shape, *at)


@lies
def _softmax(made: Made, data: Lying) -> State:
    """Over the axis of the examples: not of one number each, as where candidates are ranked."""
    at, dims = data.place, _dims(made.node, len(made.shape))
    if at is None or dims is None:
        return None
    if at[0] not in dims:
        return data
    alone = math.prod(made.shape) == data.count
    return None if alone else replace(data, mixing=_mixing(made.node, at[0], made.shape))


@lies
def _reduced(made: Made, data: Lying) -> State:
    rank = len(data.shape)
    dims, at = _dims(made.node, rank), data.place
    dims = set(range(rank)) if dims is None else dims
    if at is None:
        return None
    if at[0] in dims:
        return Lost(_mixing(made.node, at[0], data.shape))
    gone = 0 if len(made.shape) == rank else sum(dim < at[0] for dim in dims)
    return Lying.at(data, made.shape, at[0] - gone, at[1])


@lies
def _layer_norm(made: Made, data: Lying) -> State:
    at, over = data.place, saved(made.node, "normalized_shape")
    if at is None or over is None:
        return None
    inside = at[0] >= len(made.shape) - len(over)
    return replace(data, mixing=_mixing(made.node, at[0], made.shape)) if inside else data


def _mixing(node: Node, axis: int, shape: Shape) -> MixingFacts:
    return MixingFacts(name_of(node), axis, shape)


def _linear(data: int, weight: int) -> Rule:
    """A product with a weight: over the last axis of these inputs."""

    def rule(made: Made, given: Sequence[State]) -> State:
        of = given[data]
        if not isinstance(given[weight], Neutral):
            return _product(made.shape, of, given[weight])
        if isinstance(of, Pairs):
            return None
        return _over_the_last(made.shape, of) if isinstance(of, Lying) else of

    return rule


def _over_the_last(shape: Shape, of: Lying) -> State:
    last = of.shape[-1]
    if of.torn:
        return Lost(MixingFacts("View", 0, of.shape))
    if of.stride % last:
        return None
    return Lying(shape, of.stride // last * shape[-1], of.count, of.mixing)


def _product(shape: Shape, one: State, other: State) -> State:
    """Of two tensors that both depend on the inputs, for each entry of the first axis."""
    if isinstance(one, Pairs) and isinstance(other, Lying) and other.axis == len(shape) - 2:
        mixing = MixingFacts("Attention", len(shape) - 2, other.shape)
        return replace(Lying.at(other, shape, len(shape) - 2), mixing=mixing)
    if len(shape) < 3 or not (isinstance(one, Lying) and isinstance(other, Lying)):
        return None
    if one.axis == len(shape) - 2 and other.axis == len(shape) - 1:
        return Pairs(Lying.at(one, shape, len(shape) - 2))
    if one.place is None or one.place != other.place or one.place[0] != 0:
        return None
    return Lying.at(one, shape, *one.place)


def _attention(made: Made, given: Sequence[State]) -> State:
    """Attention over the second-last axis of queries, keys and values."""
    places = [s.place if isinstance(s, Lying) else None for s in given[:3]]
    query = given[0]
    if not isinstance(query, Lying) or places[0] is None or len(set(places)) > 1:
        return None
    axis, inner = places[0]
    if axis == 0:
        return Lying.at(query, made.shape, 0, inner)
    if axis != len(made.shape) - 2 or query.axis is None:
        return None
    mixing = MixingFacts("Attention", axis, query.shape)
    return replace(Lying.at(query, made.shape, axis), mixing=mixing)


def _stacked(made: Made, given: Sequence[State]) -> State:
    dims = _dims(made.node, len(made.shape))
    if dims is None:
        return None
    (dim,) = dims
    ones = [s for s in given if isinstance(s, One)]
    if ones and len(ones) == len(given):
        return _of_ones(ones, made.shape, dim)
    apart = made.shape[:dim] + made.shape[dim + 1 :] if made.name == "Stack" else None
    found = joined(list(given), apart) if apart is not None else _cat(given, made.shape, dim)
    if not isinstance(found, Lying) or apart is None:
        return found
    at = found.place
    return None if at is None else Lying.at(found, made.shape, at[0] + (dim <= at[0]), at[1])


def _of_ones(ones: list[One], shape: Shape, dim: int) -> State:
    """All examples one after the other; a recurrence along them made each depend on others."""
    if sorted(max(o.first, o.last) for o in ones) != list(range(len(ones))):
        whole = all(o.first == 0 or o.last == len(ones) - 1 for o in ones)
        if not whole:
            return None
    wide = any(o.first < o.last for o in ones)
    mixing = MixingFacts("Recurrence", dim, shape) if wide else None
    return Lying(shape, math.prod(shape[dim + 1 :]), len(ones), mixing)


def _cat(given: Sequence[State], shape: Shape, dim: int) -> State:
    known = [s for s in given if not isinstance(s, Neutral)]
    places = {s.place if isinstance(s, Lying) else None for s in known}
    first = known[0] if known else Neutral()
    if all(isinstance(s, Lost | Neutral) for s in given):
        return first
    at = places.pop() if len(places) == 1 else None
    if at is None or at[0] == dim or not isinstance(first, Lying):
        return None
    mixing = next((s.mixing for s in known if isinstance(s, Lying) and s.mixing), None)
    return replace(Lying.at(first, shape, *at), mixing=mixing)


def _recurrent(made: Made, given: Sequence[State]) -> State:
    """A recurrent layer: time first, the batch second, unless it says otherwise."""
    data = given[0]
    if not isinstance(data, Lying) or len(made.shape) != 3:
        return data if isinstance(data, Neutral | Lost) else None
    batch_first = made.name == "CudnnRnn" and bool(saved(made.node, "batch_first"))
    time, at = (1, 0) if batch_first else (0, 1)
    if data.axis == at:
        return Lying.at(data, made.shape, at)
    if data.axis != time:
        return None
    mixing = MixingFacts("Recurrence", data.axis, data.shape)
    return replace(Lying.at(data, made.shape, data.axis), mixing=mixing)


_ENTRY_BY_ENTRY = [
    "Relu",
    "Tanh",
    "Sigmoid",
    "Gelu",
    "Silu",
    "Elu",
    "LeakyRelu",
    "Threshold",
    "Hardtanh",
    "Hardsigmoid",
    "Hardswish",
    "Softplus",
    "LogSigmoid",
    "LogSigmoidForward",
    "Exp",
    "Expm1",
    "Log",
    "Log1P",
    "Log10",
    "Log2",
    "Sqrt",
    "Rsqrt",
    "Abs",
    "Neg",
    "Pow",
    "Square",
    "Clamp",
    "ClampMin",
    "ClampMax",
    "NativeDropout",
    "Mish",
    "Celu",
    "Sin",
    "Cos",
    "Sinh",
    "Cosh",
    "Atan",
    "Erf",
    "Reciprocal",
    "Sign",
    "ToCopy",
    "Clone",
    "Contiguous",
    "Alias",
    "Add",
    "Sub",
    "Rsub",
    "Mul",
    "Div",
    "Where",
    "Lerp",
    "Addcmul",
    "Addcdiv",
    "Maximum",
    "Minimum",
    "MaskedFill",
]
_SOFTMAX = ("Softmax", "LogSoftmax", "SafeSoftmax")
_VIEWS = [
    "View",
    "UnsafeView",
    "Reshape",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Unflatten",
]
_FIRST_AXIS = [
    "Convolution",
    "MkldnnConvolution",
    "MaxPool2DWithIndices",
    "MaxPool3DWithIndices",
    "AvgPool2D",
    "AvgPool3D",
    "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D",
    "AdaptiveMaxPool2D",
    "MkldnnAdaptiveAvgPool2D",
    "UpsampleNearest1D",
    "UpsampleNearest2D",
    "UpsampleBilinear2D",
    "ConstantPadNd",
    "ReflectionPad1D",
    "ReflectionPad2D",
    "NativeGroupNorm",
    "PixelShuffle",
]
_REDUCTIONS = [
    "Mean",
    "Sum",
    "Amax",
    "Amin",
    "Max",
    "Min",
    "Logsumexp",
    "LinalgVectorNorm",
    "Norm",
    "Std",
    "Var",
    "Prod",
    "Nansum",
    "Median",
]

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ENTRY_BY_ENTRY, _same),
    **dict.fromkeys(("NativeBatchNorm", "CudnnBatchNorm", "PreluKernel"), _first),
    **dict.fromkeys(_VIEWS, _view),
    **dict.fromkeys(("Transpose", "T", "Permute"), _moved),
    **dict.fromkeys(("Select", "Unbind"), _chosen),
    **dict.fromkeys(("Slice", "Split", "SplitWithSizes", "UnsafeSplit", "Roll", "Flip"), _part),
    **dict.fromkeys(_FIRST_AXIS, _first_axis),
    **dict.fromkeys(_SOFTMAX, _softmax),
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(("Stack", "Cat"), _stacked),
    **dict.fromkeys(("MkldnnRnnLayer", "CudnnRnn"), _recurrent),
    "Expand": _expanded,
    "NativeLayerNorm": _layer_norm,
    "Embedding": _first,
    "Addmm": _linear(1, 2),
    "Mm": _linear(0, 1),
    "Bmm": _linear(0, 1),
    "Baddbmm": _linear(1, 2),
    "ScaledDotProductFlashAttentionForCpu": _attention,
    "ScaledDotProductEfficientAttention": _attention,
    "ScaledDotProductFlashAttention": _attention,
}
