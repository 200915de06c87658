"""The layers that built-in networks are made of; every one carries a leading axis of replicas."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.errors import GradflowError


def kind(layer: nn.Module) -> str:
    """Return the name of a layer's class; of a built-in one that of torch's own."""
    own: str = vars(type(layer)).get("torch_name", type(layer).__name__)
    return own


class ReplicatedLinear(nn.Module):
    """`replicas` independent dense layers, applied at once.

    Attributes
    ----------
    weight
        (replicas, fan_out, fan_in).
    bias
        (replicas, fan_out).
    """

    torch_name = "Linear"

    def __init__(self, replicas: int, fan_in: int, fan_out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(replicas, fan_out, fan_in, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(replicas, fan_out, dtype=dtype))

    def forward(self, inputs: Tensor, bias: Tensor | None = None) -> Tensor:
        """(replicas, …, fan_in) -> (replicas, …, fan_out); `bias` replaces its own."""
        bias = self.bias.unsqueeze(1) if bias is None else bias
        if inputs.dim() == 3:
            return torch.baddbmm(bias, inputs, self.weight.mT)
        outputs = torch.baddbmm(bias, inputs.flatten(1, -2), self.weight.mT)
        return outputs.view(*inputs.shape[:-1], -1)

    def extra_repr(self) -> str:
        """Return the sizes, for `print`."""
        replicas, fan_out, fan_in = self.weight.shape
        return f"replicas={replicas}, in_features={fan_in}, out_features={fan_out}"


class ReplicatedConv(nn.Module):
    """`replicas` independent 3 × 3 convolutions, zero-padded.

    Attributes
    ----------
    weight
        (replicas, channels out, channels in, 3, 3).
    bias
        (replicas, channels out).
    """

    torch_name = "Conv2d"

    def __init__(
        self, replicas: int, channels: int, fan_out: int, dtype: torch.dtype, stride: int = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(replicas, fan_out, channels, 3, 3, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(replicas, fan_out, dtype=dtype))
        self.stride = stride

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, channels, height, width), the same with other channels."""
        replicas = len(inputs)
        packed = inputs.transpose(0, 1).flatten(1, 2)
        outputs = F.conv2d(
            packed, self.weight.flatten(0, 1), self.bias.flatten(), self.stride, 1, groups=replicas
        )
        batch, channels, *sides = outputs.shape
        return outputs.view(batch, replicas, channels // replicas, *sides).transpose(0, 1)


class ReplicatedNorm(nn.Module):
    """Normalisation of (replicas, batch, …) values, with its scale and shift.

    ``batch`` over the examples and positions of a unit (Ioffe & Szegedy 2015), ``layer`` over the
    units (Ba et al. 2016), ``rms`` over the units without centring (Zhang & Sennrich 2019). Units
    lie along the last axis, or are the channels of images, which ``layer`` and ``rms`` normalise
    with all their positions.
    """

    def __init__(
        self, kind: str, replicas: int, units: int, dtype: torch.dtype, dims: int = 3
    ) -> None:
        super().__init__()
        self.kind = kind
        image = dims == 5
        channel = 2 if image else dims - 1
        inner = (2, 3, 4) if image else (channel,)
        outer = tuple(axis for axis in range(1, dims) if axis != channel)
        self.axes = outer if kind == "batch" else inner
        shape = [replicas] + [units if axis == channel else 1 for axis in range(1, dims)]
        self.scale = nn.Parameter(torch.ones(shape, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(shape, dtype=dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalised inputs, of the same shape."""
        if self.kind != "rms":
            inputs = inputs - inputs.mean(self.axes, keepdim=True)
        normal = inputs * torch.rsqrt(inputs.square().mean(self.axes, keepdim=True) + 1e-5)
        return torch.addcmul(self.shift, normal, self.scale)

    def extra_repr(self) -> str:
        """Return the kind, for `print`."""
        return self.kind


class Block(nn.Module):
    """One hidden layer: φ(norm(Wa + b)), and a added to it where `residual`.

    With `post` the normalisation comes last: norm(φ(Wa + b)), or norm(a + φ(Wa + b)).
    """

    def __init__(
        self,
        linear: nn.Module,
        norm: nn.Module | None,
        activation: nn.Module,
        residual: bool,
        post: bool = False,
    ) -> None:
        super().__init__()
        self.linear, self.norm, self.activation = linear, norm, activation
        self.residual, self.post = residual, post

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, fan_in) -> (replicas, batch, width)."""
        pre_activation = self.linear(inputs)
        if self.norm is not None and not self.post:
            pre_activation = self.norm(pre_activation)
        output: Tensor = self.activation(pre_activation)
        output = inputs + output if self.residual else output
        if self.norm is not None and self.post:
            output = self.norm(output)
        return output


class Residual(nn.Module):
    """x + body(norm(x)), or norm(x + body(x)) with `post` (Xiong et al. 2020)."""

    def __init__(self, body: nn.Module, norm: nn.Module | None, post: bool) -> None:
        super().__init__()
        self.body, self.norm, self.post = body, norm, post

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs of the inputs' shape."""
        before = inputs if self.norm is None or self.post else self.norm(inputs)
        outputs: Tensor = inputs + self.body(before)
        return outputs if self.norm is None or not self.post else self.norm(outputs)


class Attention(nn.Module):
    """Self-attention of every token to all (Vaswani et al. 2017), without a mask."""

    def __init__(self, replicas: int, width: int, heads: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (
            ReplicatedLinear(replicas, width, width, dtype) for _ in range(4)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, tokens, width), the same."""
        parts = (self.query(inputs), self.key(inputs), self.value(inputs))
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for p in parts)
        scores = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
        mixed: Tensor = self.output((scores @ v).transpose(-3, -2).flatten(-2))
        return mixed


class Split(nn.Module):
    """(replicas, batch, features) -> (replicas, batch, parts, size), padded with zeros."""

    def __init__(self, parts: int, size: int) -> None:
        super().__init__()
        self.parts, self.size = parts, size

    def forward(self, inputs: Tensor) -> Tensor:
        """Return time steps or tokens."""
        missing = self.parts * self.size - inputs.shape[-1]
        padded = F.pad(inputs, (0, missing))
        return padded.reshape(*inputs.shape[:-1], self.parts, self.size)


class Image(nn.Module):
    """(replicas, batch, features) -> (replicas, batch, channels, side, side)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.channels, self.side = image_shape(features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return images."""
        return inputs.reshape(*inputs.shape[:-1], self.channels, self.side, self.side)


class Pool(nn.Module):
    """The mean over positions: of (replicas, batch, channels, height, width), or of tokens."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, units)."""
        return inputs.mean((3, 4)) if inputs.dim() == 5 else inputs.mean(2)


def image_shape(features: int) -> tuple[int, int]:
    """Return channels and side of square images of so many numbers.

    Raises
    ------
    GradflowError
        If there are no such images of one or three channels.
    """
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            return channels, side
    raise GradflowError(f"--arch cnn needs square images; {features} numbers are none")
