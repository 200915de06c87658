"""The names of a graph's nodes, of torch's own and of anybody's."""

from __future__ import annotations

import torch
from support.doubled import Doubled
from torch.utils.checkpoint import checkpoint

from gradflow.measurement.batch.graph import Graph, name_of, shape_of


def test_a_node_is_named_by_what_it_undoes() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    written = Doubled.apply(x)
    written[0] = 1.0
    again = checkpoint(torch.relu, written @ written.T, use_reentrant=True)
    loss = again.view(-1).sum()
    names = [name_of(node) for node in Graph.of([loss.grad_fn]).nodes]
    assert names[:4] == ["Sum", "View", "CheckpointFunction", "Mm"]
    assert {"CopySlices", "Doubled", "AccumulateGrad"} <= set(names)


class CppFunction:
    """A node of an extension, whose class in Python is one for all."""

    def name(self) -> str:
        return "torch::autograd::PyRoiAlignBackward0"


def test_an_extensions_node_says_its_name_itself() -> None:
    assert name_of(CppFunction()) == "PyRoiAlign"


def test_a_shape_is_that_of_the_output_or_empty() -> None:
    made = torch.randn(2, 3, requires_grad=True).unbind(1)[2].grad_fn
    assert shape_of(made, 2) == (2,)
    assert shape_of(made, 9) == ()
