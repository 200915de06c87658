"""Layers of the article's network, the same functions as torch's, made fast on a CPU.

Each differs from the torch layer that it stands for, and inherits from, in cost alone. On other
devices, which have fused kernels, it is that layer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.activations.gated import GELU_EXPONENT
from gradflow.activations.piecewise import SELU_SCALE_ALPHA

_LINEAR, _CUBIC = GELU_EXPONENT  # ½(1 + tanh u) = σ(2u); 2u is _LINEAR·x + _CUBIC·x³
_CHUNK = 400_000  # entries: a few arrays of that many stay in the cache from one step to the next


class ChannelsLastFlatten(nn.Module):
    """Flattens (N, C, H, W) in the order H, W, C: without a copy, since memory has that order."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, H·W·C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class TanhGELU(nn.GELU):
    """GELU in its tanh form: half of torch's own time, forward and backward together.

    tanh is the expensive part, here by way of the sigmoid (vectorised further in torch). The
    slope falls out along the way, chunk by chunk in the cache, and is kept instead of the input.
    """

    def __init__(self) -> None:
        super().__init__(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Return x·σ(2u)."""
        if x.device.type != "cpu" or not (torch.is_grad_enabled() and x.requires_grad):
            return F.gelu(x, approximate="tanh")
        y: Tensor = _TanhGELU.apply(x)  # type: ignore[no-untyped-call]
        return y


class _TanhGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y, slope = torch.empty_like(x), torch.empty_like(x)
        rows = max(1, _CHUNK * len(x) // max(1, x.numel()))
        for parts in zip(*(torch.split(t, rows) for t in (x, y, slope)), strict=True):
            _gelu_and_slope(*parts)
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        product: Tensor = gradient * slope
        return product


def _gelu_and_slope(x: Tensor, y: Tensor, slope: Tensor) -> None:
    """Write y = x·σ(v), v = 2u, and its slope σ + x·v′·σ(1 − σ)."""
    x = x.float() if x.dtype in {torch.bfloat16, torch.float16} else x
    cube = (x * x).mul_(x).mul_(_CUBIC)
    v = torch.add(cube, x, alpha=_LINEAR)
    d = cube.mul_(2).add_(v)  # x·v′ = _LINEAR·x + 3·_CUBIC·x³
    sigmoid = v.sigmoid_()
    d.addcmul_(d, sigmoid, value=-1).mul_(sigmoid)
    slope.copy_(d.add_(sigmoid))
    y.copy_(sigmoid.mul_(x))


class Dropout(nn.Dropout):
    """Dropout whose masks on a CPU come from random bytes: a tenth of ``bernoulli_``'s time."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share p of its entries set to 0, the others divided by 1 − p."""
        if not _cheap(self, x):
            return F.dropout(x, self.p, self.training)
        return x * _kept(x, self.p).div_(1 - self.p)


class AlphaDropout(nn.AlphaDropout):
    """Alpha dropout (Klambauer et al. 2017, arXiv:1706.02515) with the masks of `Dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a·(x where kept, −λα elsewhere) + b, of mean 0 and variance 1 where x is."""
        if not _cheap(self, x):
            return F.alpha_dropout(x, self.p, self.training)
        q, floor = 1 - self.p, -SELU_SCALE_ALPHA  # what SELU tends to: a dropped unit is set to it
        a = (q + floor**2 * q * (1 - q)) ** -0.5
        b = -a * (1 - q) * floor
        kept = _kept(x, self.p)
        rest = kept.mul(-a * floor).add_(a * floor + b)  # b where kept, a·floor + b elsewhere
        return torch.addcmul(rest, x, kept.mul_(a))


def _cheap(dropout: nn.Dropout | nn.AlphaDropout, x: Tensor) -> bool:
    """Whether `_kept` is the faster way: other devices have a fused kernel."""
    return dropout.training and 0 < dropout.p < 1 and x.device.type == "cpu"


def _kept(x: Tensor, p: float) -> Tensor:
    """Return a mask like `x` that is 1 with probability 1 − p (to 2⁻³²), else 0.

    One random byte per entry where 256·p is a whole number, four elsewhere.
    """
    whole = (256 * p).is_integer()
    size, threshold = (1, int(256 * p)) if whole else (4, min(round(2**32 * p), 2**32 - 1) - 2**31)
    words = torch.empty(math.ceil(x.numel() * size / 8), dtype=torch.int64)
    numbers = words.random_(-(2**63), None).view(torch.uint8 if whole else torch.int32)
    ones = numbers[: x.numel()].ge_(threshold)  # in place: making booleans takes ten times as long
    return ones.view(x.shape).to(x.dtype)
