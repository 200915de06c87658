"""What a pass leaves of every layer call, and how it becomes one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradflow.measurement.modules import biases, matrices
from gradflow.measurement.quantities import QUANTITIES, Measured, Sample, measured, together
from gradflow.measurement.recurrence import RecurrentCall
from gradflow.measurement.stats import accumulator


@dataclass
class LayerRecord:
    """One call of a module with weights.

    ``values`` are its quantities by name, (replicas,) each, on the model's device. An exponent is
    that of a power of two: true magnitudes are the recorded ones times 2**exponent.
    ``weight_exponent`` is what δ is to be multiplied by where the weight's gradient is made of it;
    the weight's gradient has that of the layer's input as well.
    """

    index: int
    name: str
    kind: str
    module: nn.Module
    dtype: torch.dtype | None = None
    values: Measured = field(default_factory=dict)


#: A layer's gradients: of its matrices, and of its biases.
LayerGradients = tuple[list[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Measurement:
    """What one pass gave.

    Attributes
    ----------
    names, kinds
        Of every layer call, in the order of the forward pass.
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

    def unreached(self) -> tuple[int, ...]:
        """Return the rows (from 1) whose weights require a gradient and got none."""
        return tuple(
            row
            for row, (names, waits) in enumerate(
                zip(self.measured, self.trainable, strict=True), start=1
            )
            if waits and "gradient_norm" not in names
        )


def measurement(
    records: Sequence[LayerRecord],
    loss: Tensor,
    gradients: Sequence[LayerGradients],
    *,
    replicated: bool,
) -> Measurement:
    """Return what the records and the gradients of their weights and biases say."""
    quantities = [
        _quantities(record, *pair, replicated)
        for record, pair in zip(records, gradients, strict=True)
    ]
    replicas = _replicas(quantities)
    return assembled(
        names=[record.name for record in records],
        kinds=[record.kind for record in records],
        weight_sizes=[
            sum(w.numel() for w in matrices(record.module)) // (replicas if replicated else 1)
            for record in records
        ],
        loss=loss,
        quantities=quantities,
        dtypes=[record.dtype or loss.dtype for record in records],
        trainable=[any(w.requires_grad for w in matrices(r.module)) for r in records],
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
) -> Measurement:
    """Return the measurement of layers whose quantities, (replicas,) each, are known by name."""
    replicas = _replicas(quantities)
    return Measurement(
        names,
        kinds,
        weight_sizes,
        loss.detach(),
        values=torch.stack([_stacked(q, replicas, loss.device) for q in quantities]),
        measured=[frozenset(q) for q in quantities],
        dtypes=dtypes,
        trainable=trainable,
    )


def _replicas(quantities: Sequence[Measured]) -> int:
    return next((v.numel() for q in quantities for v in q.values()), 1)


def _stacked(values: Measured, replicas: int, device: torch.device) -> Tensor:
    dtype = accumulator(device)
    missing = torch.full((replicas,), torch.nan, device=device)
    return torch.stack(
        [values.get(name, missing).to(device=device, dtype=dtype) for name in QUANTITIES]
    )


def _quantities(
    record: LayerRecord, weights: list[Tensor], of_biases: list[Tensor], replicated: bool
) -> Measured:
    values = dict(record.values)
    sources = {
        "weight": [w.detach() for w in matrices(record.module)],
        "gradient": weights,
        "bias_gradient": of_biases,
    }
    for source, tensors in sources.items():
        entries = together(tensors, replicated)
        if entries is not None:
            values |= measured(source, Sample(entries, record.module))
    return values


def layer_gradients(
    records: Sequence[LayerRecord], gradient_of: dict[int, Tensor | None]
) -> list[LayerGradients]:
    """Return every record's gradients, given those of the parameters by ``id``."""

    def known(parameters: Sequence[Tensor]) -> list[Tensor]:
        found = (gradient_of.get(id(p)) for p in parameters)
        return [g for g in found if g is not None]

    return [(known(matrices(r.module)), known(biases(r.module))) for r in records]


def keep_counts(wide: Measurement, plain: Measurement) -> None:
    """Keep saying what was not finite in the model's own dtype."""
    for name in ("forward_nonfinite", "backward_nonfinite"):
        at = QUANTITIES.index(name)
        wide.values[:, at] = plain.values[:, at]
