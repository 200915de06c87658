"""A recurrent network's time steps as rows: the gradient of the last step's loss at each of them.

The whole state is one tensor, through which every path passes, so that the gradient's scale is
kept there and 10⁻⁸⁰⁰ is measured as well as 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.measurement.recorder import SATURATION, Recorder
from gradflow.measurement.records import QUANTITIES, Measurement, assembled
from gradflow.measurement.slopes import dead_units, max_slope, slope
from gradflow.measurement.stats import accumulator, example_spread, l2_norm, tensor_stats
from gradflow.networks.layers import ReplicatedLinear
from gradflow.networks.recurrent import Recurrent, Step

Quantities = dict[str, Tensor | None]


def measure_steps(
    model: nn.Sequential, inputs: Tensor, losses: Callable[[Tensor], Tensor]
) -> Measurement:
    """Run one pass over a built recurrent network and back; a row per time step, then the output.

    A step's weight gradient is its own term of the sum over steps that is the recurrent matrix's
    gradient (Pascanu et al. 2013, equation 4).

    Parameters
    ----------
    model
        (to steps, `Recurrent`, output).
    inputs
        (replicas, batch, features).
    losses
        Of the logits: every replica's loss.
    """
    split, layer, output = model
    assert isinstance(layer, Recurrent)
    assert isinstance(output, ReplicatedLinear)
    unrolled = _Unrolled(model, layer)
    with torch.enable_grad():
        hidden = unrolled.last_hidden(split(inputs))
        logits = output(hidden)
        unrolled.listen_to_logits(logits)
        loss = losses(logits)
        parameters = [output.weight, output.bias, layer.cell.weight]
        grads = torch.autograd.grad(loss.sum(), parameters)
    rows = [*unrolled.rows, unrolled.output_row(output, grads[0], grads[1])]
    steps = len(unrolled.rows)
    own = layer.cell.weight[0].numel()
    return assembled(
        names=[f"step {t}" for t in range(1, steps + 1)] + ["output"],
        kinds=[type(layer.cell).__name__] * steps + [type(output).__name__],
        weight_sizes=[own] * steps + [output.weight[0].numel()],
        loss=loss,
        quantities=rows,
        dtypes=[loss.dtype] * len(rows),
        trainable=[True] * len(rows),
    )


@dataclass
class _Unrolled:
    """The hooks of one pass over the steps, and what they saw."""

    model: nn.Sequential
    layer: Recurrent
    rows: list[Quantities] = field(default_factory=list)
    logits_row: Quantities = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.model, replicated=True)
        self.weight_norm = l2_norm(self.layer.cell.weight)

    def last_hidden(self, inputs: Tensor) -> Tensor:
        """Run over (replicas, batch, steps, features)."""
        state = inputs
        for step in self.layer.steps(inputs):
            state = step.state
            self._listen(step)
        return state[..., : self.layer.cell.units]

    def listen_to_logits(self, logits: Tensor) -> None:
        """Note δ at the output."""

        def hook(gradient: Tensor) -> None:
            self.logits_row = self._delta(gradient)

        logits.register_hook(hook)  # type: ignore[no-untyped-call]

    def output_row(self, output: ReplicatedLinear, weight: Tensor, bias: Tensor) -> Quantities:
        """Return the row of the output layer."""
        row = dict.fromkeys(QUANTITIES) | self.logits_row
        row["weight_norm"] = l2_norm(output.weight)
        return row | _gradient(weight, l2_norm(bias))

    def _delta(self, gradient: Tensor) -> Quantities:
        stats, exponent = tensor_stats(gradient), self.recorder.current(gradient)
        return {
            "delta_rms": stats.rms,
            "delta_exponent": exponent,
            "weight_exponent": exponent,
            "backward_nonfinite": stats.nonfinite_count,
        }

    def _listen(self, step: Step) -> None:
        units = self.layer.cell.units
        hidden = step.state[..., :units].detach()
        row: Quantities = dict.fromkeys(QUANTITIES) | _activation(hidden)
        row["weight_norm"] = self.weight_norm
        if step.pre_activation is not None:
            row |= _slopes(self.layer.cell.activation, step.pre_activation)
        self.rows.append(row)

        def on_state(gradient: Tensor) -> None:
            row.update(self._delta(gradient[..., :units]))

        def on_recurrent(gradient: Tensor) -> None:
            previous = step.previous[..., :units].detach()
            term = gradient.mT @ previous
            row.update(_gradient(term, l2_norm(gradient.sum(1))))
            row["weight_exponent"] = self.recorder.current(gradient)

        state: Any = step.state
        state.register_hook(on_state)
        self.recorder.mark(step.state)
        recurrent: Any = step.recurrent
        recurrent.register_hook(on_recurrent)


def _gradient(weight: Tensor, bias_norm: Tensor) -> Quantities:
    stats = tensor_stats(weight)
    return {
        "gradient_norm": stats.norm,
        "gradient_mean_abs": stats.mean_abs,
        "gradient_max_abs": stats.abs_max,
        "bias_gradient_norm": bias_norm,
    }


def _activation(hidden: Tensor) -> Quantities:
    stats = tensor_stats(hidden)
    return {
        "activation_mean": stats.mean,
        "activation_variance": stats.variance,
        "zero_fraction": stats.zero_fraction,
        "forward_nonfinite": stats.nonfinite_count,
        "example_spread": example_spread(hidden),
    }


def _slopes(activation: nn.Module, z: Tensor) -> Quantities:
    slopes, wide = slope(activation.forward, z).abs(), accumulator(z.device)
    saturated = slopes < SATURATION * max_slope(activation.forward, slopes)
    return {
        "dead_fraction": dead_units(slopes, activation).to(wide).mean(1),
        "saturated_fraction": saturated.flatten(1).to(wide).mean(1),
    }
