"""Gradient flow while a classifier trains: per layer and epoch, without a host sync on the way.

A few steps of every epoch are recorded, each at the cost of one fused norm over the gradients and
one over the updates; activations are measured once, after the epoch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.benchmarking.networks.classifiers import layers
from gradflow.measurement.hooks import Hooks
from gradflow.measurement.modules import is_activation
from gradflow.measurement.norms import copies, differences, norms
from gradflow.measurement.slopes import dead_units, max_slope, saturated, slope
from gradflow.measurement.stats import accumulator
from gradflow.training.trainer import autocast

_AT_ONCE = 100  # images: slopes take several times the memory of activations
STEPS = 20  # recorded in every epoch, evenly spread over it
_MEANS = ("gradient_norm", "update_ratio")
_OF_ACTIVATIONS = ("activation_mean", "activation_variance", "dead_fraction", "saturated_fraction")
_KINDS = {nn.Conv2d: "conv", nn.Linear: "dense"}


class ActivationStats:
    """What is seen of a layer's activation over some batches; a forward pre-hook of it."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.entries = 0
        self.sums: list[Tensor] = []  # of a, a² and saturated entries, by batch
        self.dead: list[Tensor] = []  # (units,), by batch

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take the activation's input."""
        (x,) = inputs
        slopes = slope(module.forward, x).abs()
        values = module.forward(x.detach().clone())  # the module may work in place
        wide = accumulator(x.device)
        largest = max_slope(module.forward, slopes)
        flat = saturated(slopes, largest).sum()
        values = values.to(wide)
        self.sums.append(torch.stack([values.sum(), values.square().sum(), flat.to(wide)]))
        self.dead.append(dead_units(slopes.unsqueeze(0), self.layer, largest)[0])
        self.entries += values.numel()

    def statistics(self) -> Tensor:
        """Return mean, variance, dead and saturated fraction, (4,), on the device."""
        mean, square, saturated = torch.stack(self.sums).sum(0) / self.entries
        dead = torch.stack(self.dead).all(0).to(mean.dtype).mean()
        unbiased = self.entries / max(self.entries - 1, 1)
        return torch.stack([mean, (square - mean.square()) * unbiased, dead, saturated])


class FlowRecorder:
    """Watches a `Trainer`'s updates; an observer of its steps.

    Parameters
    ----------
    model
        Convolutional and dense layers, each followed by its activation but the last.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.weights: list[Tensor] = [layer.weight for layer in layers(model)]
        self.biases: list[Tensor] = [
            layer.bias for layer in layers(model) if layer.bias is not None
        ]
        self.start(1)

    def start(self, steps: int) -> None:
        """Begin an epoch of so many steps."""
        count = min(STEPS, steps)
        self._chosen = {1 + round(i * (steps - 1) / max(count - 1, 1)) for i in range(count)}
        self._step = 0
        self._before: list[Tensor] = []
        device = self.weights[0].device
        self._sums = torch.zeros(2, len(self.weights), dtype=accumulator(device), device=device)

    def before_update(self) -> None:
        """Take the gradients' norms; called when they are there and nothing has clipped them."""
        self._step += 1
        if self._step in self._chosen:
            of_weights, of_biases = (
                norms([p.grad for p in ps]) for ps in (self.weights, self.biases)
            )
            self._sums[0] += torch.hypot(of_weights, of_biases)
            self._before = copies(self.weights)

    def after_update(self) -> None:
        """Take the norms of what the optimiser changed."""
        if self._before:
            before = norms(self._before)
            self._sums[1] += norms(differences(self.weights, self._before)) / before
            self._before = []

    def layers(self, images: Tensor, precision: str = "fp32") -> list[dict[str, Any]]:
        """Return the epoch's means, and the activations of `images`, by layer.

        The keys are fields of `gradflow.results.benchmark.FlowRow`.
        """
        means = self._sums / len(self._chosen)
        with _observed(self.model) as seen, torch.no_grad(), autocast(precision, images.device):
            for some in torch.split(images, _AT_ONCE):
                self.model(some)
        nothing = torch.full(
            (len(_OF_ACTIVATIONS),), torch.nan, dtype=means.dtype, device=means.device
        )
        found = torch.stack(
            [
                seen[index].statistics() if index in seen else nothing
                for index in range(len(self.weights))
            ]
        )
        table = torch.cat([means.T, found], dim=1).tolist()  # the one sync
        return [
            {"index": index + 1, "name": name, **dict(zip(_MEANS, row[:2], strict=True))}
            | (dict(zip(_OF_ACTIVATIONS, row[2:], strict=True)) if index in seen else {})
            for index, (name, row) in enumerate(zip(layer_names(self.model), table, strict=True))
        ]


def layer_names(model: nn.Module) -> list[str]:
    """Return ``conv 1``, ``conv 2``, ``dense 1``, … for the layers of a classifier."""
    counts: dict[str, int] = {}
    names = []
    for layer in layers(model):
        kind = _KINDS[type(layer)]
        counts[kind] = counts.get(kind, 0) + 1
        names.append(f"{kind} {counts[kind]}")
    return names


@contextlib.contextmanager
def _observed(model: nn.Module) -> Iterator[dict[int, ActivationStats]]:
    """Give what will be seen of each layer's activation, by the layer's number."""
    seen: dict[int, ActivationStats] = {}
    number, layer, training = -1, model, model.training
    with Hooks() as hooks:
        for module in model.modules():
            if isinstance(module, tuple(_KINDS)):
                number, layer = number + 1, module
            elif is_activation(module) and number >= 0:
                seen[number] = ActivationStats(layer)
                hooks.before_forward(module, seen[number])
        try:
            model.eval()
            yield seen
        finally:
            model.train(training)
