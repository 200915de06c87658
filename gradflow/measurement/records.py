"""What a pass leaves of every layer call, and how it becomes one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.measurement.modules import biases, matrices
from gradflow.measurement.stats import TensorStats, accumulator, l2_norm, tensor_stats


@dataclass
class LayerRecord:
    """One call of a module with weights; every tensor is (replicas,), on the model's device.

    An exponent is that of a power of two: true magnitudes are the recorded ones times
    2**exponent. ``weight_exponent`` is what δ is to be multiplied by where the weight's gradient
    is made of it; the weight's gradient has that of the layer's input as well.
    """

    index: int
    name: str
    kind: str
    module: nn.Module
    dtype: torch.dtype | None = None
    delta: TensorStats | None = None
    delta_exponent: Tensor | None = None
    weight_exponent: Tensor | None = None
    output_nonfinite: Tensor | None = None
    activation: TensorStats | None = None
    activation_exponent: Tensor | None = None
    input_exponent: Tensor | None = None
    example_spread: Tensor | None = None
    dead_fraction: Tensor | None = None
    saturated_fraction: Tensor | None = None


#: Per-layer quantities in the order in which they are stacked.
QUANTITIES = (
    "weight_norm",
    "gradient_norm",
    "gradient_mean_abs",
    "gradient_max_abs",
    "bias_gradient_norm",
    "weight_exponent",
    "input_exponent",
    "delta_rms",
    "delta_exponent",
    "backward_nonfinite",
    "activation_exponent",
    "activation_mean",
    "activation_variance",
    "zero_fraction",
    "forward_nonfinite",
    "example_spread",
    "dead_fraction",
    "saturated_fraction",
)

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
    """

    names: list[str]
    kinds: list[str]
    weight_sizes: list[int]
    loss: Tensor
    values: Tensor
    measured: list[frozenset[str]]
    dtypes: list[torch.dtype]
    trainable: list[bool]

    def unreached(self) -> tuple[int, ...]:
        """Return the rows (from 1) that wait for a gradient in vain."""
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
    replicas = next((v.numel() for q in quantities for v in q.values() if v is not None), 1)
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
    quantities: Sequence[dict[str, Tensor | None]],
    dtypes: list[torch.dtype],
    trainable: list[bool],
) -> Measurement:
    """Return the measurement of layers whose quantities, (replicas,) each, are known by name."""
    replicas = next((v.numel() for q in quantities for v in q.values() if v is not None), 1)
    return Measurement(
        names,
        kinds,
        weight_sizes,
        loss.detach(),
        values=torch.stack([_stacked(q, replicas, loss.device) for q in quantities]),
        measured=[frozenset(k for k, v in q.items() if v is not None) for q in quantities],
        dtypes=dtypes,
        trainable=trainable,
    )


def together(tensors: Sequence[Tensor], replicated: bool) -> Tensor | None:
    """Return the entries of all `tensors` as (replicas, entries); None where there are none."""
    flat = [t.flatten(1) if replicated else t.flatten().unsqueeze(0) for t in tensors]
    if not flat:
        return None
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def _stacked(quantities: dict[str, Tensor | None], replicas: int, device: torch.device) -> Tensor:
    dtype = accumulator(device)
    missing = torch.full((replicas,), torch.nan, device=device)
    return torch.stack(
        [(missing if v is None else v).to(device=device, dtype=dtype) for v in quantities.values()]
    )


def _quantities(
    record: LayerRecord, weights: list[Tensor], of_biases: list[Tensor], replicated: bool
) -> dict[str, Tensor | None]:
    values: dict[str, Tensor | None] = dict.fromkeys(QUANTITIES)
    own = together([w.detach() for w in matrices(record.module)], replicated)
    values["weight_norm"] = None if own is None else l2_norm(own)
    if (weight := together(weights, replicated)) is not None:
        g = tensor_stats(weight)
        values |= {"gradient_norm": g.norm, "gradient_mean_abs": g.mean_abs}
        values["gradient_max_abs"] = g.abs_max
    if (bias := together(of_biases, replicated)) is not None:
        values["bias_gradient_norm"] = l2_norm(bias)
    if (delta := record.delta) is not None:
        values |= {"delta_rms": delta.rms, "delta_exponent": record.delta_exponent}
        values["backward_nonfinite"] = delta.nonfinite_count
    values["forward_nonfinite"] = record.output_nonfinite
    if (a := record.activation) is not None:
        values |= {"activation_mean": a.mean, "activation_variance": a.variance}
        values |= {"zero_fraction": a.zero_fraction, "forward_nonfinite": a.nonfinite_count}
    for name in (
        "weight_exponent",
        "input_exponent",
        "activation_exponent",
        "example_spread",
        "dead_fraction",
        "saturated_fraction",
    ):
        values[name] = getattr(record, name)
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
