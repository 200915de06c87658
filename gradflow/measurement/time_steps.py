"""A recurrent network's time steps as rows: the gradient of the last step's loss at each of them.

The whole state is one tensor, through which every path passes, so that the gradient's scale is
kept there and 10⁻⁸⁰⁰ is measured as well as 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradflow.measurement.hooks import on_gradient
from gradflow.measurement.quantities import Measured, Sample, measured
from gradflow.measurement.recorder import Recorder
from gradflow.measurement.records import Measurement, assembled
from gradflow.measurement.slopes import max_slope, slope
from gradflow.networks.layers import ReplicatedLinear, kind
from gradflow.networks.recurrent import Recurrent, Step


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
        unrolled.observe_logits(logits)
        loss = losses(logits)
        unrolled.recorder.begin_backward()
        parameters = [output.weight, output.bias, layer.cell.weight]
        grads = torch.autograd.grad(loss.sum(), parameters)
    rows = [*unrolled.rows, unrolled.output_row(output, grads[0], grads[1])]
    steps = len(unrolled.rows)
    own = layer.cell.weight[0].numel()
    return assembled(
        names=[f"step {t}" for t in range(1, steps + 1)] + ["output"],
        kinds=[kind(layer.cell)] * steps + [kind(output)],
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
    rows: list[Measured] = field(default_factory=list)
    logits_row: Measured = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.model, replicated=True)
        self.of_weight = measured("weight", Sample(self.layer.cell.weight.flatten(1)))

    def last_hidden(self, inputs: Tensor) -> Tensor:
        """Run over (replicas, batch, steps, features)."""
        state = inputs
        for step in self.layer.steps(inputs):
            state = step.state
            self._observe(step)
        return state[..., : self.layer.cell.units]

    def observe_logits(self, logits: Tensor) -> None:
        """Have δ at the output measured."""

        def hook(gradient: Tensor) -> None:
            self.logits_row = self._delta(gradient)

        on_gradient(logits, hook)

    def output_row(self, output: ReplicatedLinear, weight: Tensor, bias: Tensor) -> Measured:
        """Return the row of the output layer, given its gradients."""
        return self.logits_row | {
            **measured("weight", Sample(output.weight.flatten(1))),
            **measured("gradient", Sample(weight)),
            **measured("bias_gradient", Sample(bias)),
        }

    def _delta(self, gradient: Tensor) -> Measured:
        exponent = self.recorder.current(gradient)
        return {
            **measured("delta", Sample(gradient)),
            "delta_exponent": exponent,
            "weight_exponent": exponent,
        }

    def _observe(self, step: Step) -> None:
        units = self.layer.cell.units
        hidden = step.state[..., :units].detach()
        row = self.of_weight | measured("activation", Sample(hidden))
        if step.pre_activation is not None:
            row |= _slopes(self.layer.cell.activation, step.pre_activation)
        self.rows.append(row)

        def on_state(gradient: Tensor) -> None:
            row.update(self._delta(gradient[..., :units]))

        previous = step.previous[..., :units].detach()  # of `step` itself the graph keeps nothing

        def on_recurrent(gradient: Tensor) -> None:
            row.update(measured("gradient", Sample(gradient.mT @ previous)))
            row.update(measured("bias_gradient", Sample(gradient.sum(1))))
            row["weight_exponent"] = self.recorder.current(gradient)

        on_gradient(step.state, on_state)
        self.recorder.mark(step.state)
        on_gradient(step.recurrent, on_recurrent)


def _slopes(activation: nn.Module, z: Tensor) -> Measured:
    slopes = slope(activation.forward, z).abs()
    return measured("slopes", Sample(slopes, activation, max_slope(activation.forward, slopes)))
