"""What stands between a layer's plain numbers and the loss: activations, read off the graph."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from gradflow.measurement.batch.graph import (
    Graph,
    Node,
    inputs_of,
    is_leaf,
    name_of,
    saved,
    saved_tensor,
    shape_of,
    signed,
)

#: Nodes that hand numbers on as they are, in another place or shape.
PASSING = frozenset(
    {
        "View",
        "UnsafeView",
        "Reshape",
        "ReshapeAlias",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "T",
        "Permute",
        "Expand",
        "Clone",
        "Contiguous",
        "ToCopy",
        "Alias",
        "Flatten",
        "Unflatten",
        "AsStrided",
        "SplitWithSizes",
        "Split",
        "Unbind",
        "MvTensor",
        "Movedim",
    }
)
#: The same, of a part of them.
CHOOSING = frozenset(
    {"Slice", "Select", "Index", "Gather", "IndexSelect", "Narrow", "MaskedSelect"}
)
#: Activations by the node that undoes them.
ACTIVATIONS = {
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "log-sigmoid",
    "LogSigmoidForward": "log-sigmoid",
    "Relu": "ReLU",
    "Threshold": "ReLU",
    "LeakyRelu": "leaky ReLU",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Elu": "ELU",
    "Gelu": "GELU",
    "Silu": "SiLU",
    "Exp": "exp",
    "Clamp": "clamp",
    "ClampMin": "clamp",
    "ClampMax": "clamp",
}
#: Nodes of layers with weights.
LAYERS = frozenset({"Addmm", "Mm", "Convolution", "Linear", "MkldnnLinear", "Addmv", "Mv"})
#: Nodes that only change the scale: behind them an activation's reach is another one.
SCALING = frozenset({"Mul", "Div"})
#: Nodes that a gradient does not change but for its sign, on the way to a criterion's input.
_MOST = 24


@dataclass(frozen=True)
class Activation:
    """One of them on the way.

    Attributes
    ----------
    kind
        Its name.
    node
        That undoes it.
    dim, size
        Of a softmax: the dimension, and how many units it normalises over.
    low, high
        Of a clamp: its ends.
    """

    kind: str
    node: Node
    dim: int | None = None
    size: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def values(self) -> Tensor | None:
        """Its output, where the graph keeps it."""
        return saved_tensor(self.node, "result")

    @property
    def before(self) -> Tensor | None:
        """Its input, where the graph keeps it."""
        return saved_tensor(self.node, "self")


@dataclass
class Chain:
    """From a node back to the layer whose numbers it passes on.

    Attributes
    ----------
    activations
        The last one first.
    layer
        Node of the layer with weights that the numbers come from; None where it is not clear.
    chosen
        Whether a part of the numbers was taken on the way.
    scaled
        Whether they were multiplied behind the last activation.
    shifted
        Whether a constant was added behind the last activation.
    logs
        How often a logarithm was taken behind the last activation.
    """

    activations: list[Activation] = field(default_factory=list)
    layer: Node | None = None
    chosen: bool = False
    scaled: bool = False
    shifted: bool = False
    logs: int = 0

    @property
    def last(self) -> Activation | None:
        """The activation nearest to the loss, clamps left out."""
        return next((a for a in self.activations if a.kind != "clamp"), None)


def chain_from(node: Node | None, within: Graph | None = None) -> Chain:
    """Return the way back from a node."""
    chain = Chain()
    for _ in range(_MOST):
        if node is None or (within is not None and node not in within):
            break
        name = name_of(node)
        if name in LAYERS:
            chain.layer = node
            break
        if name in ACTIVATIONS:
            chain.activations.append(_activation(node, ACTIVATIONS[name]))
        elif name in CHOOSING:
            chain.chosen = True
        elif not _passes(chain, node, name):
            break
        node = _only_input(node)
    return chain


def scrambled(node: Node | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shape of scores, and the one that they are seen as in the same order.

    Of a convolution, whose channels come second, as rows of classes: each row then holds places,
    not classes. Of a linear layer, whose units come last, as if they came second.
    """
    if (found := _turned(node)) is not None:
        return found
    seen: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    for _ in range(_MOST):
        name = None if node is None else name_of(node)
        if node is None or name == "Convolution":
            return seen if name else None
        if name in _AS_ROWS and seen is None:
            (before, place), *_ = inputs_of(node)
            was, now = shape_of(before, place), shape_of(node)
            rows = len(was) > 2 and len(now) == 2 and was[1] == now[1] < was[1] * now[0]
            seen = (was, now) if rows and was[0] < now[0] else None
        elif name not in ACTIVATIONS:
            return None
        node = _only_input(node)
    return None


def _turned(node: Node | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes of a linear layer's output, if (N, L, C) is seen as (N, C, L)."""
    if node is None or name_of(node) not in _AS_ROWS:
        return None
    (before, place), *_ = inputs_of(node)
    was, now = shape_of(before, place), shape_of(node)
    swapped = len(was) == 3 and now == (was[0], was[2], was[1]) and was[1] != was[2]
    if not swapped or min(was[1:]) < 2:  # of one step nothing changes its place
        return None
    while before is not None and name_of(before) in (*_AS_ROWS, "Add"):
        before = _only_input(before)
    linear = before is not None and name_of(before) in LAYERS - {"Convolution"}
    return (was, now) if linear and shape_of(before)[-1:] == was[2:] else None


#: Nodes that see numbers as another shape, in the same order.
_AS_ROWS = frozenset({"View", "UnsafeView", "Reshape", "ReshapeAlias"})


def _only_input(node: Node) -> Node | None:
    """The node before it; a bias that is added does not count."""
    before = [n for n, _ in inputs_of(node)]
    if len(before) > 1:
        before = [n for n in before if not (is_leaf(n) and len(shape_of(n)) <= 1)]
    return before[0] if len(before) == 1 else None


def _passes(chain: Chain, node: Node, name: str) -> bool:
    """Whether the way goes on behind a node that is no activation; notes what it does."""
    if name in PASSING:
        return True
    behind = chain.last is None
    if name in SCALING and len(inputs_of(node)) == 1:
        chain.scaled |= behind
        return True
    if name == "Add" and len(inputs_of(node)) == 2:
        return _only_input(node) is not None
    if name in ("Add", "Sub", "Rsub") and len(inputs_of(node)) == 1:
        chain.shifted |= behind
        return True
    if name == "Log":
        chain.logs += behind
        return True
    return False


def _activation(node: Node, kind: str) -> Activation:
    if kind in ("softmax", "log-softmax"):
        shape = shape_of(node)
        dim = signed(int(saved(node, "dim")))
        size = shape[dim] if -len(shape) <= dim < len(shape) else None
        return Activation(kind, node, dim % len(shape) if shape else dim, size)
    if kind == "clamp":
        return Activation(kind, node, low=_number(saved(node, "min")), high=_end(node, "max"))
    if kind == "hardtanh":
        return Activation(kind, node, low=_end(node, "min_val"), high=_end(node, "max_val"))
    return Activation(kind, node)


def _end(node: Node, name: str) -> float | None:
    return _number(saved(node, name))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
