"""The graph of a loss, node by node: names, shapes, leaves. Nothing in it is run or freed."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Node = Any  #: of autograd, which has no public type for the edges

#: Nodes of one graph that are looked at: of a larger one nothing is said.
MOST_NODES = 50_000


def name_of(node: Node) -> str:
    """Return what a node undoes: ``"Addmm"``, ``"NllLoss2D"``, ``"Relu"``, …"""
    name = type(node).__name__  # the same in a fraction of the time, but for extensions' own nodes
    return _undone(node.name() if name == "CppFunction" else name)


@functools.cache
def _undone(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name.rpartition("::")[2])


def shape_of(node: Node, place: int = 0) -> tuple[int, ...]:
    """Return the shape of what a node made; empty where that is not known."""
    try:
        return tuple(node._input_metadata[place].shape)
    except Exception:
        return ()


def saved(node: Node, name: str) -> Any:
    """Return what a node keeps under a name; None if that is gone, or was written over.

    Nor is it asked for where that would run somebody's hook, as a checkpoint's or an off-loader's.
    """
    raw = getattr(node, f"_raw_saved_{name}", None)
    if getattr(raw, "unpack_hook", None) is not None:  # torch 2.6 does not say
        return None
    try:
        return getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None


def saved_tensor(node: Node, *names: str) -> Tensor | None:
    """Return the first of these that a node keeps as a tensor, cut off from the graph."""
    found = (saved(node, name) for name in names)
    return next((t.detach() for t in found if isinstance(t, Tensor)), None)


def signed(number: int) -> int:
    """Return a dimension as it was given: negative ones are kept as unsigned integers."""
    return number - 2**64 if number >= 2**63 else number


def inputs_of(node: Node) -> list[tuple[Node, int]]:
    """Return the nodes whose outputs went in and take a gradient, with the output's place."""
    return [(before, place) for before, place in node.next_functions if before is not None]


def is_leaf(node: Node) -> bool:
    """Return whether a gradient is written to a tensor here."""
    return isinstance(getattr(node, "variable", None), Tensor)


@dataclass
class Graph:
    """The nodes that are reached from one or more roots.

    Attributes
    ----------
    nodes
        From the roots backwards.
    edges
        The nodes whose outputs went into each, with the output's place; None for what takes no
        gradient.
    before
        The nodes alone.
    users
        How many inputs of other nodes each node's outputs are.
    leaves
        Tensors that a gradient would be written to.
    complete
        Whether it was walked to its end.
    """

    nodes: list[Node] = field(default_factory=list)
    edges: dict[Node, tuple[tuple[Node | None, int], ...]] = field(default_factory=dict)
    before: dict[Node, list[Node]] = field(default_factory=dict)
    users: dict[Node, int] = field(default_factory=dict)
    leaves: list[Tensor] = field(default_factory=list)
    complete: bool = True

    @classmethod
    def of(cls, roots: Iterable[Node], stop: Iterable[Node] = ()) -> Graph:
        """Walk it, but not beyond the nodes in `stop`."""
        seen, queue = set(stop), []
        for root in roots:
            if root is not None and root not in seen:
                seen.add(root)
                queue.append(root)
        graph = cls(nodes=queue)
        edges, before, users = graph.edges, graph.before, graph.users
        for node in queue:  # grows meanwhile
            if len(queue) > MOST_NODES:
                graph.nodes, graph.complete = queue[: len(edges)], False
                break
            ends = edges[node] = node.next_functions
            if not ends and isinstance(leaf := getattr(node, "variable", None), Tensor):
                graph.leaves.append(leaf)
            before[node] = [end for end, _ in ends if end is not None]
            for end in before[node]:
                users[end] = users.get(end, 0) + 1
                if end not in seen:
                    seen.add(end)
                    queue.append(end)
        return graph

    def __contains__(self, node: Node) -> bool:
        return node in self.before

    def after(self, nodes: Iterable[Node]) -> list[Node]:
        """Return the nodes that take an output of these, in the order of the graph."""
        found = [user for node in nodes for user in self._after.get(node, ())]
        return list(dict.fromkeys(found))

    @functools.cached_property
    def _after(self) -> dict[Node, list[Node]]:
        after: dict[Node, list[Node]] = {}
        for node, before in self.before.items():
            for one in before:
                after.setdefault(one, []).append(node)
        return after

    def named(self, *names: str) -> Iterator[Node]:
        """Yield the nodes that undo one of these, from the roots backwards."""
        places = sorted(place for name in names for place in self._places.get(name, ()))
        return (self.nodes[place] for place in places)

    @functools.cached_property
    def _places(self) -> dict[str, list[int]]:
        """Where nodes stand, by what they undo."""
        places: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            places.setdefault(name_of(node), []).append(place)
        return places
