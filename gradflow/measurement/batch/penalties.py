"""Which weights a loss takes the size of, as an L1 or L2 penalty does."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from gradflow.measurement import walks
from gradflow.measurement.batch.chain import PASSING
from gradflow.measurement.batch.graph import Graph, Node, inputs_of, is_leaf, name_of

#: Operations that take the size of every entry, or of all together.
_SIZES = frozenset({"Abs", "Pow", "Norm", "LinalgVectorNorm"})
#: What may lie between a weight and its size.
_REARRANGED = PASSING | {"Cat", "Stack"}
_MOST_BETWEEN = 4


def penalised_share(behind: Graph, sources: Collection[Node], model: nn.Module) -> float:
    """Return of which share of the trained matrices' entries a loss takes the size.

    Parameters
    ----------
    behind
        Its graph, as far as the model's outputs.
    sources
        The nodes of these.
    """
    if not all(node in behind.users for node in sources):  # the model's own graph lies in it
        return 0.0
    matrices = [p for p in walks.parameters(model) if p.requires_grad and p.dim() >= 2]
    entries = {id(p): p.numel() for p in matrices}
    leaves = [node for node in behind.nodes if is_leaf(node) and id(node.variable) in entries]
    found = sum(entries[id(leaf.variable)] for leaf in leaves if _is_sized(leaf, behind))
    return found / sum(entries.values()) if found else 0.0


def _is_sized(leaf: Node, graph: Graph) -> bool:
    users = graph.after([leaf])
    for _ in range(_MOST_BETWEEN):
        if any(name_of(user) in _SIZES or _is_square(user) for user in users):
            return True
        users = graph.after(user for user in users if name_of(user) in _REARRANGED)
    return False


def _is_square(node: Node) -> bool:
    """Whether a number is multiplied by itself."""
    before = inputs_of(node) if name_of(node) == "Mul" else []
    return len(before) == 2 and before[0] == before[1]
