"""Every per-layer quantity, in one table: what it is measured from, and the fields it becomes.

A new quantity is one entry of `QUANTITIES`, and one column in the row of the result that shows it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.arrays import Floats
from gradflow.measurement.quick_stats import QuickStats
from gradflow.measurement.row_stats import RowStats, has_row_stats
from gradflow.measurement.slopes import dead_units, saturated
from gradflow.measurement.stats import (
    TensorStats,
    accumulator,
    count_nonzero,
    example_spread,
    tensor_stats,
    token_spread,
)

#: One quantity: (replicas,), or of one replica on a CPU.
Number: TypeAlias = "Tensor | float"
#: A layer's quantities by name.
Measured: TypeAlias = "dict[str, Number]"

_LOG2 = math.log10(2.0)
#: What the gradient of a weight is made of: δ and the layer's input, each with an exponent.
_OF_WEIGHT = ("weight_exponent", "input_exponent")


@dataclass
class Sample:
    """A tensor of one layer, (replicas, …), from which quantities are measured.

    Attributes
    ----------
    layer
        Whose it is.
    largest_slope
        Of the activation, where `values` are its slopes.
    quick
        Whether they are read by `QuickStats`.
    lasting
        Whether they are a parameter's.
    """

    values: Tensor
    layer: nn.Module | None = None
    largest_slope: Tensor | None = None
    quick: bool = False
    lasting: bool = False

    @functools.cached_property
    def stats(self) -> TensorStats | QuickStats:
        """The statistics of the values."""
        if self.quick:
            return QuickStats(self.values, lasting=self.lasting)
        return (RowStats if has_row_stats(self.values) else tensor_stats)(self.values)


@dataclass(frozen=True)
class LayerValues:
    """Quantities of layers on the host, each (layers, replicas), and what scales them.

    Attributes
    ----------
    raw
        By name; None for what was not measured.
    size
        Entries of each layer's weights, (layers, 1).
    lr
        Learning rate that the update ratio is for.
    to_mean, to_own, to_given
        Logarithms of what makes gradients those of the mean loss, δ each example's own, and
        gradients those of the loss that is trained on.
    """

    raw: Mapping[str, Floats | None]
    size: Floats
    lr: float
    to_mean: float
    to_own: float
    to_given: float

    def log10(self, name: str, shift: float = 0.0, exponents: Sequence[str] = ()) -> Floats | None:
        """Return log₁₀ of a quantity, with powers of two and a shift that it lacks."""
        value, powers = self.raw[name], [self.raw[e] for e in exponents]
        if value is None:
            return None
        with np.errstate(divide="ignore"):
            total = sum((p for p in powers if p is not None), np.zeros_like(value))
            return np.asarray(np.log10(value) + _LOG2 * total + shift)

    def gradient(self, name: str, exponents: Sequence[str] = _OF_WEIGHT) -> Floats | None:
        """Return a quantity of a gradient, as of the mean loss."""
        return _power(self.log10(name, self.to_mean, exponents))


#: From the values of a layer's calls until now, those of the latest, and its share of the entries.
Merge: TypeAlias = "Callable[[Number, Number, float], Number]"


def _mean(old: Number, new: Number, share: float) -> Number:
    return (1 - share) * old + share * new


def _mean_square(old: Number, new: Number, share: float) -> Number:
    root: Number = _mean(old * old, new * new, share) ** 0.5
    return root


def _sum(old: Number, new: Number, _: float) -> Number:
    return old + new


def _least(old: Number, new: Number, _: float) -> Number:
    if isinstance(old, float) and isinstance(new, float):
        return min(old, new)
    return torch.minimum(torch.as_tensor(old), torch.as_tensor(new))


#: From a layer's values to a field of its row.
RowField: TypeAlias = "Callable[[LayerValues], Floats | None]"


@dataclass(frozen=True)
class Quantity:
    """One number of every layer.

    Attributes
    ----------
    sources
        Samples that it is measured from: "weight", "gradient" (of the weights), "bias_gradient",
        "delta", "output" (of the layer), "activation", "slopes" (of the activation). None: the
        pass itself notes it.
    measure
        (replicas,) of a sample; None where that has none.
    fields
        What it becomes in a row, by the row's field; without any it is used by others alone.
    merge
        Of a layer that is called several times in one pass: from what its calls gave until now,
        what the latest one gave, and its share of all entries, to what they give together.
    """

    sources: tuple[str, ...] = ()
    measure: Callable[[Sample], Number | None] = lambda _: None
    fields: Mapping[str, RowField] = field(default_factory=dict)
    merge: Merge = lambda _, new, __: new


class QuantityTable(dict[str, Quantity]):
    """Quantities by name, in the order in which a measurement stacks them."""

    def __init__(self, **quantities: Quantity) -> None:
        super().__init__(quantities)
        self._of_source: dict[str, list[tuple[str, Quantity]]] = {}

    def __setitem__(self, name: str, quantity: Quantity) -> None:
        super().__setitem__(name, quantity)
        self._of_source.clear()

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._of_source.clear()

    def index(self, name: str) -> int:
        """Return a quantity's place in the stack."""
        return list(self).index(name)

    def of(self, source: str, only: Collection[str] | None = None) -> list[tuple[str, Quantity]]:
        """Return those that are measured from a source, of those that are asked for."""
        known = self._of_source.setdefault(source, [])
        if not known:
            known.extend((name, q) for name, q in self.items() if source in q.sources)
        return known if only is None else [pair for pair in known if pair[0] in only]


def _power(exponent: Floats | None) -> Floats | None:
    with np.errstate(over="ignore", under="ignore"):
        return None if exponent is None else np.asarray(10.0**exponent)


def _gradient_rms(layer: LayerValues) -> Floats | None:
    norm = layer.gradient("gradient_norm")
    return None if norm is None else norm / np.sqrt(layer.size)


def _update_ratio(layer: LayerValues) -> Floats | None:
    norm = _power(layer.log10("gradient_norm", layer.to_given, _OF_WEIGHT))
    weight_norm = layer.raw["weight_norm"]
    if norm is None or weight_norm is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(layer.lr * norm / weight_norm)


def _activation(layer: LayerValues) -> tuple[Floats, Floats, Floats] | None:
    """Mean and variance as stored, and the power of two that they lack."""
    mean, variance = layer.raw["activation_mean"], layer.raw["activation_variance"]
    if mean is None or variance is None:
        return None
    power = layer.raw["activation_exponent"]
    return mean, variance, np.zeros_like(mean) if power is None else power


def _activation_mean(layer: LayerValues) -> Floats | None:
    if (found := _activation(layer)) is None:
        return None
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(found[0] * 2.0 ** found[2])


def _activation_variance(layer: LayerValues) -> Floats | None:
    if (found := _activation(layer)) is None:
        return None
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(found[1] * 4.0 ** found[2])


def _activation_log10_rms(layer: LayerValues) -> Floats | None:
    """Its logarithm cannot overflow."""
    if (found := _activation(layer)) is None:
        return None
    mean, variance, power = found
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        return np.asarray(0.5 * np.log10(variance + mean**2) + _LOG2 * power)


def _spread(sample: Sample) -> Number | None:
    if sample.values.dim() <= 2:
        return None
    stats = sample.stats
    if isinstance(stats, QuickStats | RowStats):
        return stats.example_spread
    return example_spread(sample.values, stats.norm)


def _token_spread(sample: Sample) -> Number | None:
    """Of layers that act on each token alone, or mix them: not of channels and time steps."""
    kind = type(sample.layer)
    other = issubclass(kind, nn.modules.conv._ConvNd | nn.RNNBase)
    tokens = sample.values.dim() == 4 and sample.values.shape[2] > 1
    if not tokens or other:
        return None
    stats = sample.stats
    return stats.token_spread if isinstance(stats, QuickStats) else token_spread(sample.values)


def _dead(sample: Sample) -> Number | None:
    return _share(dead_units(sample.values, sample.layer, sample.largest_slope))


def _saturated(sample: Sample) -> Number | None:
    if sample.largest_slope is None:
        return None
    return _share(saturated(sample.values, sample.largest_slope).flatten(1))


def _share(there: Tensor) -> Number:
    """The share of the true entries of (replicas, …)."""
    if there.is_cpu and len(there) == 1 and there.numel():
        return float(np.count_nonzero(there.numpy())) / there.numel()
    return count_nonzero(there).to(accumulator(there.device)) / there.shape[1]


def _as_it_is(name: str) -> dict[str, RowField]:
    return {name: lambda layer: layer.raw[name]}


#: The one table.
QUANTITIES = QuantityTable(
    weight_norm=Quantity(("weight",), lambda s: s.stats.norm),
    gradient_norm=Quantity(
        ("gradient",),
        lambda s: s.stats.norm,
        {
            "gradient_norm": lambda layer: layer.gradient("gradient_norm"),
            "gradient_log10_norm": lambda layer: layer.log10(
                "gradient_norm", layer.to_mean, _OF_WEIGHT
            ),
            "gradient_rms": _gradient_rms,
            "update_ratio": _update_ratio,
        },
    ),
    gradient_mean_abs=Quantity(
        ("gradient",),
        lambda s: s.stats.mean_abs,
        {"gradient_mean_abs": lambda layer: layer.gradient("gradient_mean_abs")},
    ),
    gradient_max_abs=Quantity(
        ("gradient",),
        lambda s: s.stats.abs_max,
        {"gradient_max_abs": lambda layer: layer.gradient("gradient_max_abs")},
    ),
    bias_gradient_norm=Quantity(
        ("bias_gradient",),
        lambda s: s.stats.norm,
        {
            "bias_gradient_norm": lambda layer: layer.gradient(
                "bias_gradient_norm", ("weight_exponent",)
            )
        },
    ),
    weight_exponent=Quantity(),
    input_exponent=Quantity(),
    delta_rms=Quantity(
        ("delta",),
        lambda s: s.stats.rms,
        {
            "delta_log10_rms": lambda layer: layer.log10(
                "delta_rms", layer.to_own, ("delta_exponent",)
            )
        },
        merge=_mean_square,
    ),
    delta_exponent=Quantity(),
    backward_nonfinite=Quantity(
        ("delta",), lambda s: s.stats.nonfinite_count, _as_it_is("backward_nonfinite"), merge=_sum
    ),
    activation_exponent=Quantity(),
    activation_mean=Quantity(
        ("activation",),
        lambda s: s.stats.mean,
        {"activation_mean": _activation_mean},
        merge=_mean,
    ),
    activation_variance=Quantity(
        ("activation",),
        lambda s: s.stats.variance,
        {
            "activation_variance": _activation_variance,
            "activation_log10_rms": _activation_log10_rms,
        },
    ),
    zero_fraction=Quantity(
        ("activation",), lambda s: s.stats.zero_fraction, _as_it_is("zero_fraction"), merge=_mean
    ),
    forward_nonfinite=Quantity(
        # of the activation, where one follows the layer
        ("output", "activation"),
        lambda s: s.stats.nonfinite_count,
        _as_it_is("forward_nonfinite"),
        merge=_sum,
    ),
    example_spread=Quantity(("activation",), _spread, _as_it_is("example_spread"), merge=_mean),
    # A unit that is dead in all calls is so in the one with the fewest: no more than these are.
    dead_fraction=Quantity(("slopes",), _dead, _as_it_is("dead_fraction"), merge=_least),
    saturated_fraction=Quantity(
        ("slopes",), _saturated, _as_it_is("saturated_fraction"), merge=_mean
    ),
    token_spread=Quantity(("output",), _token_spread, _as_it_is("token_spread"), merge=_mean),
    attention_entropy=Quantity(fields=_as_it_is("attention_entropy")),
    attention_saturated=Quantity(fields=_as_it_is("attention_saturated")),
)


def measured(source: str, sample: Sample, only: Collection[str] | None = None) -> Measured:
    """Return every quantity that is measured from a source, by name; or `only` some."""
    found = {name: quantity.measure(sample) for name, quantity in QUANTITIES.of(source, only)}
    return {name: value for name, value in found.items() if value is not None}


def merged(old: Measured, new: Measured, share: float) -> Measured:
    """Return what several calls of a layer give together.

    Parameters
    ----------
    old, new
        What the calls until now gave, and what the latest one gave.
    share
        The latest one's share of all entries.
    """
    both = {
        name: QUANTITIES[name].merge(old[name], value, share)
        for name, value in new.items()
        if name in old
    }
    return old | new | both | _whole_variance(old, new, share)


def _whole_variance(old: Measured, new: Measured, share: float) -> Measured:
    """The variance over all calls: within them, and between their means."""
    mean, variance = "activation_mean", "activation_variance"
    if mean not in new or mean not in old:
        return {}
    apart = old[mean] - new[mean]
    between = share * (1 - share) * apart * apart
    return {variance: _mean(old[variance], new[variance], share) + between}


def row_fields(layer: LayerValues) -> dict[str, Floats | None]:
    """Return what the quantities of a layer become in its row, by field."""
    return {
        name: value(layer)
        for quantity in QUANTITIES.values()
        for name, value in quantity.fields.items()
    }


def together(tensors: Sequence[Tensor], replicated: bool) -> Tensor | None:
    """Return the entries of all `tensors` as (replicas, entries); None where there are none.

    A complex number is two entries; a sparse tensor has all its zeros.
    """
    tensors = [_real(t) for t in tensors]
    flat = [_in_rows(t) if replicated else t.reshape(1, t.numel()) for t in tensors]
    if not flat:
        return None
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def _in_rows(tensor: Tensor) -> Tensor:
    """(replicas, …) to (replicas, entries), in the order in which a matrix lies in memory."""
    turned = tensor.mT if tensor.dim() == 3 and not tensor.is_contiguous() else tensor
    return (turned if turned.is_contiguous() else tensor).flatten(1)


def _real(tensor: Tensor) -> Tensor:
    dense = tensor.to_dense() if tensor.is_sparse else tensor
    return torch.view_as_real(dense) if dense.is_complex() else dense
