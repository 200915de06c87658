"""Where a loss that is not finite came from, read off its graph while that is alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: What nodes of layers keep of their input.
SAVED = ("_saved_mat1", "_saved_input", "_saved_self")
#: Nodes of a graph that are looked at.
MOST = 20_000

#: Stands for the model's own inputs.
INPUTS = ""


def first_nonfinite_layer(
    loss: Tensor, named: Mapping[str, nn.Parameter], outputs: Iterable[Tensor] = ()
) -> str | None:
    """Return the first layer whose output is not finite; `INPUTS`, or None where it is the loss.

    A layer is known by its parameter; that its output is not finite is seen at the next layer's
    input, so what acts between the two counts as its part.

    Parameters
    ----------
    outputs
        Of the model, where they are held: they tell the last layer's from the loss.
    """
    names = {id(p): n for n, p in named.items()}
    layers = sorted(_layers(loss, names), key=lambda found: found[0])
    before = INPUTS
    for _, name, inputs in layers:
        if any(map(_is_lost, inputs)):
            return before
        before = name
    return before if any(map(_is_lost, outputs)) else None


def _is_lost(values: Tensor) -> bool:
    return values.is_floating_point() and not bool(torch.isfinite(values).all())


def _layers(
    loss: Tensor, names: Mapping[int, str]
) -> Iterator[tuple[int, str, tuple[Tensor, ...]]]:
    """Yield the place, the name and the inputs of every layer in the graph."""
    seen: set[Any] = set()
    queue: list[Any] = [loss.grad_fn]
    while queue and len(seen) < MOST:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        queue += [after for after, _ in node.next_functions]
        name = _own(node, names)
        if name is not None and (inputs := tuple(_saved(node, names))):
            yield node._sequence_nr(), name.rpartition(".")[0] or name, inputs


def _saved(node: Any, names: Mapping[int, str]) -> Iterator[Tensor]:
    """Yield what a node keeps of its input."""
    for what in SAVED:
        kept = getattr(node, what, None)
        if isinstance(kept, Tensor) and kept.is_floating_point() and id(kept) not in names:
            yield kept


def _own(node: Any, names: Mapping[int, str]) -> str | None:
    """Return the trained parameter that a node of the graph works with."""
    for after, _ in node.next_functions:
        for leaf in (after, *(n for n, _ in getattr(after, "next_functions", ()))):
            variable = getattr(leaf, "variable", None)
            if variable is not None and id(variable) in names:
                return names[id(variable)]
    return None
