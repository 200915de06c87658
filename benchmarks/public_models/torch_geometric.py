"""Graph networks of torch_geometric."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric import nn as graph

from public_models.case import Builder, Case, first_cross_entropy, labels, repeated

_NODES, _EDGES = 60, 240


def _edges() -> Tensor:
    return torch.randint(_NODES, (2, _EDGES))


def _nodes(model: nn.Module, *further: Any) -> Case:
    """Return a model that classifies the nodes of one graph."""
    inputs = (torch.randn(_NODES, 16), _edges(), *further)
    return Case(model, inputs, labels(_NODES, 5), first_cross_entropy, _copies)


def _copies(tensor: Tensor, times: int) -> Tensor:
    """Return what is given of so many copies of a graph side by side."""
    if tensor.dim() == 2 and len(tensor) == 2:  # edges
        return torch.cat([tensor + copy * _NODES for copy in range(times)], 1)
    return repeated(tensor, times)


def _basic(name: str, **options: Any) -> Case:
    model = getattr(graph, name)(16, 32, num_layers=4, out_channels=5, **options)
    return _nodes(model)


def graph_unet() -> Case:
    """Return a graph U-Net."""
    return _nodes(graph.GraphUNet(16, 32, 5, depth=3))


class Relational(nn.Module):
    """Two relational convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = graph.RGCNConv(16, 32, num_relations=3, num_bases=2)
        self.second = graph.RGCNConv(32, 5, num_relations=3)

    def forward(self, x: Tensor, edges: Tensor, kinds: Tensor) -> Tensor:
        """Return logits of the nodes."""
        return self.second(self.first(x, edges, kinds).relu(), edges, kinds)


class DeepResidual(nn.Module):
    """GCNII: initial residuals and identity maps, 16 layers."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(16, 32), nn.Linear(32, 5)
        self.convs = nn.ModuleList(graph.GCN2Conv(32, 0.1, 0.5, k + 1) for k in range(16))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return logits of the nodes."""
        x = start = self.lift(x).relu()
        for conv in self.convs:
            x = conv(x, start, edges).relu()
        return self.head(x)


class Graphormer(nn.Module):
    """GPS: attention beside message passing, in three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(16, 32), nn.Linear(32, 5)
        self.blocks = nn.ModuleList(
            graph.GPSConv(32, graph.GINConv(nn.Sequential(nn.Linear(32, 32), nn.ReLU())), heads=4)
            for _ in range(3)
        )

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return logits of the nodes."""
        x = self.lift(x)
        for block in self.blocks:
            x = block(x, edges)
        return self.head(x)


class Attentive(nn.Module):
    """Three transformer convolutions."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((16, 32), (32, 32), (32, 5))
        self.convs = nn.ModuleList(graph.TransformerConv(a, b) for a, b in widths)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return logits of the nodes."""
        for conv in self.convs[:-1]:
            x = conv(x, edges).relu()
        return self.convs[-1](x, edges)


def relational() -> Case:
    """Return an RGCN."""
    return _nodes(Relational(), torch.randint(3, (_EDGES,)))


def principal() -> Case:
    """Return PNA, which aggregates in several ways at once."""
    degrees = torch.tensor([0, 10, 20, 20, 10, 5])
    return _basic("PNA", aggregators=["mean", "max", "std"], scalers=["identity"], deg=degrees)


def spline_points() -> Case:
    """Return a point network on a given graph."""
    local = nn.Sequential(nn.Linear(19, 32), nn.ReLU(), nn.Linear(32, 5))
    model = graph.PointNetConv(local)
    inputs = (torch.randn(_NODES, 16), torch.randn(_NODES, 3), _edges())
    return Case(model, inputs, labels(_NODES, 5), first_cross_entropy, _copies)


MODELS: dict[str, Builder] = {
    "gcn": functools.partial(_basic, "GCN"),
    "graph_sage": functools.partial(_basic, "GraphSAGE"),
    "gat": functools.partial(_basic, "GAT", heads=4),
    "gat_v2": functools.partial(_basic, "GAT", v2=True, heads=4),
    "gin": functools.partial(_basic, "GIN"),
    "edge_cnn": functools.partial(_basic, "EdgeCNN"),
    "pna": principal,
    "graph_unet": graph_unet,
    "rgcn": relational,
    "gcnii": functools.partial(lambda: _nodes(DeepResidual())),
    "gps": functools.partial(lambda: _nodes(Graphormer())),
    "transformer_conv": functools.partial(lambda: _nodes(Attentive())),
    "point_net": spline_points,
}
