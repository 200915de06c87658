"""A forward pass that cannot overflow: values as stored · 2**exponent, per replica.

`diagnose` runs it where the plain pass leaves the dtype's range. Gradients are those with respect
to the true values throughout, so every change of scale passes them on unchanged; only a weight's
gradient, which multiplies δ by the stored input, has the input's exponent to be added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.activations import Activation
from gradflow.measurement.quantities import Measured, Sample, measured
from gradflow.measurement.recorder import Recorder
from gradflow.measurement.records import Measurement, measurement
from gradflow.networks.layers import Block, ReplicatedLinear
from gradflow.networks.losses import loss_function

#: Stored values are brought back to about 1 when their largest leaves 2**±_KEPT.
_KEPT = 32
#: Beyond 2**±_FAR an activation that grows is its own asymptote, to 1e-12; its cube is a float32.
_FAR = 40
#: Where everything else is kept.
_LIMIT = 2.0**100


class _Scaled(torch.autograd.Function):
    """x · 2**power, kept within ±limit and on its side of 0; the gradient passes unchanged."""

    @staticmethod
    def forward(_: Any, x: Tensor, power: Tensor, limit: float = _LIMIT) -> Tensor:
        values = ldexp(x, power).clamp(-limit, limit)
        return torch.where(values == 0, x.sign() / _LIMIT, values)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class _Shown(torch.autograd.Function):
    """Other values in the place of x; the gradient passes unchanged."""

    @staticmethod
    def forward(_: Any, x: Tensor, values: Tensor) -> Tensor:  # noqa: ARG004
        return values.clone()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def ldexp(x: Tensor, power: Tensor) -> Tensor:
    """Return x · 2**power, in two steps: 2**power alone may be no number of x's dtype.

    Beyond both steps it is 0 or infinite for every x of moderate size, as the true value is.
    """
    limit = 126 if x.dtype != torch.float64 else 1022
    half = torch.div(power, 2, rounding_mode="floor")
    for part in (half, power - half):
        x = torch.ldexp(x, part.clamp(-limit, limit).int())
    return x


def measure_scaled(
    model: nn.Sequential, inputs: Tensor, labels: Tensor, phi: Activation, loss: str, scale: float
) -> Measurement:
    """Measure a built network by a forward pass that cannot overflow.

    Parameters
    ----------
    model
        Of `Block`s without normalisation, and an output layer.
    inputs
        (replicas, examples, features).
    scale
        Multiplies the loss.
    """
    recorder = Recorder(model, replicated=True)
    scaled = ScaledPass(recorder)
    with recorder.attached(), torch.enable_grad():
        each, recorder.exponent = scaled_losses(loss, *scaled.logits(model, inputs, phi), labels)
        losses = each.view(len(inputs), -1).sum(1) * scale
        recorder.backward(losses.sum())
    for record, exponent in zip(recorder.records, scaled.input_exponents, strict=True):
        record.values["input_exponent"] = exponent.flatten()
    for record, activation in zip(recorder.records, scaled.activations, strict=False):
        record.values |= activation  # the output layer has none
    return measurement(recorder.records, losses, replicated=True)


@dataclass
class ScaledPass:
    """What a scaled forward pass leaves behind, layer by layer; exponents are (replicas, 1, 1)."""

    recorder: Recorder
    activations: list[Measured] = field(default_factory=list)
    input_exponents: list[Tensor] = field(default_factory=list)

    def logits(
        self, model: nn.Sequential, inputs: Tensor, phi: Activation
    ) -> tuple[Tensor, Tensor]:
        """Return the stored logits and their exponent."""
        exponent = torch.zeros(len(inputs), 1, 1, dtype=torch.float64, device=inputs.device)
        stored = inputs
        *blocks, last = model
        for block in blocks:
            assert isinstance(block, Block)
            stored, exponent = self._block(block, stored, exponent, phi)
        return self._linear(last, stored, exponent)

    def _linear(self, linear: nn.Module, stored: Tensor, exponent: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(linear, ReplicatedLinear)
        self.input_exponents.append(exponent)
        bias = _apply(_Scaled, linear.bias.unsqueeze(1), -exponent)
        output = linear(stored, bias=bias)
        step = excess(output)
        return _apply(_Scaled, output, -step), exponent + step

    def _block(
        self, block: Block, inputs: Tensor, exponent: Tensor, phi: Activation
    ) -> tuple[Tensor, Tensor]:
        z, z_exponent = self._linear(block.linear, inputs, exponent)
        grows = bool(phi.derivative(math.inf) or phi.derivative(-math.inf))
        y = block.activation(_apply(_Scaled, z, z_exponent, 2.0**_FAR if grows else _LIMIT))
        values, power = activated(phi, z.detach(), z_exponent, y.detach())
        output = _apply(_Shown, y, values)
        if block.residual:
            common = torch.maximum(power, exponent)
            output = _apply(_Scaled, output, power - common)
            output, power = output + _apply(_Scaled, inputs, exponent - common), common
        self.recorder.mark(output)
        seen = measured("activation", Sample(output))
        self.activations.append(seen | {"activation_exponent": power.flatten()})
        return output, power


def activated(phi: Activation, z: Tensor, exponent: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return φ(z·2**exponent) as stored values and exponent, given y = φ of the clamped value.

    Far out φ is its asymptote; near 0, where φ(0) = 0, it is its tangent: both are exact in
    stored values whatever the exponent.
    """
    up, down = (float(phi.derivative(x)) for x in (math.inf, -math.inf))
    right, left = float(phi.derivative(5e-324)), float(phi.derivative(-5e-324))
    power = exponent if up or down else exponent.clamp_max(0)
    power = power if float(phi(0.0)) == 0 else power.clamp_min(0)
    magnitude = torch.where(z == 0, -torch.inf, torch.log2(z.abs()).double() + exponent)
    far, near = (magnitude > _FAR) & (power > 0), (magnitude < -_FAR) & (power < 0)
    values = ldexp(y, -power)
    values = torch.where(far, torch.where(z > 0, z * up, z * down), values)
    return torch.where(near, torch.where(z > 0, z * right, z * left), values), power


def excess(values: Tensor) -> Tensor:
    """Return the exponent of the largest magnitude where that is far from 0, else 0."""
    largest = values.detach().abs().amax((1, 2), keepdim=True)
    exponent = torch.frexp(largest).exponent.double()
    fine = (exponent.abs() <= _KEPT) | (largest == 0) | ~largest.isfinite()
    return torch.where(fine, 0.0, exponent)


def scaled_losses(
    loss: str, stored: Tensor, exponent: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return every example's loss, and the exponent that its gradients lack, (replicas,).

    Cross-entropy is taken from each example's largest logit down, which it does not notice. The
    squared error's gradient is as large as the logits, so it is taken of the stored ones.
    """
    none = torch.zeros_like(exponent.flatten())
    if loss == "mse":
        kept = exponent.clamp_min(0)
        target = F.one_hot(labels, stored.shape[-1]).to(stored.dtype).expand_as(stored)
        difference = _apply(_Scaled, stored, exponent - kept) - ldexp(target, -kept)
        return 0.5 * difference.square().sum(-1), kept.flatten()
    if loss == "cross-entropy":
        stored = stored - stored.detach().amax(-1, keepdim=True)
    return loss_function(loss)(_apply(_Scaled, stored, exponent), labels), none


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    output: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return output
