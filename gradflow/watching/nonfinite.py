"""Where a loss that is not finite came from, read off its graph while that is alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from gradflow.measurement.batch.graph import Graph, Node, inputs_of, saved

#: What nodes of layers keep of their input.
SAVED = ("mat1", "input", "self")

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
    before = INPUTS
    for _, name, inputs in sorted(layers_of(loss, names), key=lambda found: found[0]):
        if any(map(_is_lost, inputs)):
            return before
        before = name
    return before if any(map(_is_lost, outputs)) else None


def _is_lost(values: Tensor) -> bool:
    return values.is_floating_point() and not bool(torch.isfinite(values).all())


def layers_of(
    loss: Tensor, names: Mapping[int, str]
) -> Iterator[tuple[int, str, tuple[Tensor, ...]]]:
    """Yield the place, the name and the inputs of every layer in a loss's graph.

    Parameters
    ----------
    names
        Of parameters, by their ``id``.
    """
    for node in Graph.of([loss.grad_fn]).nodes:
        name = _own(node, names)
        if name is not None and (inputs := tuple(_kept(node, names))):
            yield node._sequence_nr(), name.rpartition(".")[0] or name, inputs


def _kept(node: Node, names: Mapping[int, str]) -> Iterator[Tensor]:
    """Yield what a node keeps of its input."""
    for what in SAVED:
        kept = saved(node, what)
        if isinstance(kept, Tensor) and kept.is_floating_point() and id(kept) not in names:
            yield kept


def _own(node: Node, names: Mapping[int, str]) -> str | None:
    """Return the trained parameter that a node of the graph works with."""
    for after, _ in inputs_of(node):
        for leaf in (after, *(n for n, _ in inputs_of(after))):
            variable = getattr(leaf, "variable", None)
            if variable is not None and id(variable) in names:
                return names[id(variable)]
    return None
