"""What a pass leaves of every layer, and how it becomes one tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradflow.measurement.quantities import (
    QUANTITIES,
    Measured,
    Sample,
    measured,
    merged,
)
from gradflow.measurement.recurrence import RecurrentCall
from gradflow.measurement.stats import accumulator


@dataclass
class LayerRecord:
    """The calls of a module with weights, or parameters that belong to no layer.

    ``values`` are its quantities by name: (replicas,) each on the model's device, or numbers of one
    replica on a CPU. An exponent is that of a power of two: true magnitudes are the recorded ones
    times 2**exponent.
    ``weight_exponent`` is what δ is to be multiplied by where the weight's gradient is made of it;
    the weight's gradient has that of the layer's input as well.
    """

    index: int
    name: str
    kind: str
    module: nn.Module
    dtype: torch.dtype | None = None
    weights: Sequence[Tensor] = ()
    biases: Sequence[Tensor] = ()
    values: Measured = field(default_factory=dict)
    calls: int = 0
    observed: bool = False  # whether δ at an output is waited for
    entries: dict[str, int] = field(default_factory=dict)

    def add(self, source: str, sample: Sample, only: Collection[str] | None = None) -> None:
        """Add what is measured from a sample of one call to that of the calls before."""
        self.merge(source, measured(source, sample, only), sample.values.numel())

    def merge(self, source: str, new: Measured, size: int) -> None:
        """Add what was measured of a sample of so many entries."""
        before = self.entries.get(source, 0)
        self.entries[source] = before + size
        share = size / (before + size) if before + size else 1.0
        self.values = merged(self.values, new, share) if before else self.values | new

    def parameters(self, gradient_of: Mapping[int, Tensor | None]) -> dict[str, list[Tensor]]:
        """Return what is measured of the parameters, by source.

        Parameters
        ----------
        gradient_of
            Of every trained parameter, by ``id``.
        """

        def known(parameters: Sequence[Tensor]) -> list[Tensor]:
            found = (gradient_of.get(id(p)) for p in parameters)
            return [g for g in found if g is not None]

        return {
            "weight": [w.detach() for w in self.weights],
            "gradient": known(self.weights),
            "bias_gradient": known(self.biases),
        }


@dataclass(frozen=True)
class Uncovered:
    """Trained entries that no row shows, since no gradient reaches them.

    Attributes
    ----------
    names
        Of the modules, or parameters of the model itself.
    share
        Of all trained entries.
    """

    names: tuple[str, ...] = ()
    share: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """What one pass gave.

    Attributes
    ----------
    names, kinds
        Of every layer, in the order of the forward pass, then of the parameters that belong to
        none.
    weight_sizes
        Entries of each layer's weights, per replica.
    loss
        (replicas,) or 0-d, as the closure gave it.
    values
        (layers, quantities, replicas), in the order of `QUANTITIES`; NaN where not measured.
    measured
        Per layer, the quantities that were measured.
    dtypes
        Of each layer's δ.
    trainable
        Whether a weight of the layer requires a gradient.
    recurrent
        Calls of torch's own recurrent layers.
    calls
        How often each layer was called.
    entries
        Of the δ of each layer's calls.
    beside
        How many of the rows, the last ones, are parameters that belong to no layer.
    uncovered
        What no row shows.
    kept
        Gradients of the parameters for which they were to be kept, by ``id``.
    """

    names: list[str]
    kinds: list[str]
    weight_sizes: list[int]
    loss: Tensor
    values: Tensor
    measured: list[frozenset[str]]
    dtypes: list[torch.dtype]
    trainable: list[bool]
    recurrent: tuple[RecurrentCall, ...] = ()
    calls: list[int] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    beside: int = 0
    uncovered: Uncovered = Uncovered()
    kept: Mapping[int, Tensor | None] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """How many of the rows, the first ones, are layers."""
        return len(self.names) - self.beside

    def repeated(self) -> tuple[tuple[int, int], ...]:
        """Return the rows (from 1) of layers that were called more than once, with how often."""
        return tuple((row, n) for row, n in enumerate(self.calls, start=1) if n > 1)

    def unreached(self) -> tuple[int, ...]:
        """Return the rows (from 1) whose weights require a gradient and got none."""
        return tuple(
            row
            for row, (names, waits) in enumerate(
                zip(self.measured, self.trainable, strict=True), start=1
            )
            if waits and "gradient_norm" not in names
        )


def measurement(records: Sequence[LayerRecord], loss: Tensor, *, replicated: bool) -> Measurement:
    """Return what the records say."""
    quantities = [record.values for record in records]
    replicas = _replicas(quantities)
    return assembled(
        names=[record.name for record in records],
        kinds=[record.kind for record in records],
        weight_sizes=[
            sum(w.numel() for w in record.weights) // (replicas if replicated else 1)
            for record in records
        ],
        loss=loss,
        quantities=quantities,
        dtypes=[record.dtype or loss.dtype for record in records],
        trainable=[any(w.requires_grad for w in r.weights) for r in records],
        calls=[record.calls for record in records],
        entries=[record.entries.get("delta", 0) for record in records],
    )


def assembled(
    *,
    names: list[str],
    kinds: list[str],
    weight_sizes: list[int],
    loss: Tensor,
    quantities: Sequence[Measured],
    dtypes: list[torch.dtype],
    trainable: list[bool],
    calls: Sequence[int] = (),
    entries: Sequence[int] = (),
) -> Measurement:
    """Return the measurement of layers whose quantities, (replicas,) each, are known by name."""
    replicas = _replicas(quantities)
    return Measurement(
        names,
        kinds,
        weight_sizes,
        loss.detach(),
        values=_stacked(quantities, replicas, loss.device),
        measured=[frozenset(q) for q in quantities],
        dtypes=dtypes,
        trainable=trainable,
        calls=list(calls),
        entries=list(entries),
    )


def _replicas(quantities: Sequence[Measured]) -> int:
    every = (v for q in quantities for v in q.values())
    return next((v.numel() if isinstance(v, Tensor) else 1 for v in every), 1)


def _stacked(layers: Sequence[Measured], replicas: int, device: torch.device) -> Tensor:
    """(layers, quantities, replicas), NaN where a layer lacks one."""
    dtype = accumulator(device)
    size = len(layers) * len(QUANTITIES)
    values = torch.full((size, replicas), torch.nan, device=device, dtype=dtype)
    every = [layer.get(name) for layer in layers for name in QUANTITIES]
    tensors = {i: v.to(device, dtype) for i, v in enumerate(every) if isinstance(v, Tensor)}
    numbers = {i: v for i, v in enumerate(every) if isinstance(v, float)}
    if tensors:
        places = torch.tensor([*tensors], device=device)
        values[places] = torch.stack([*tensors.values()])
    if numbers:  # of one replica on a CPU
        values[torch.tensor([*numbers])] = torch.tensor([*numbers.values()], dtype=dtype)[:, None]
    return values.view(len(layers), len(QUANTITIES), replicas)


def keep_counts(wide: Measurement, plain: Measurement) -> None:
    """Keep saying what was not finite in the model's own dtype."""
    for name in ("forward_nonfinite", "backward_nonfinite"):
        at = QUANTITIES.index(name)
        wide.values[:, at] = plain.values[:, at]
