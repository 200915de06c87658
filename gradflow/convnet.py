"""The article's convolutional network, laid out for speed.

Conv 32 3×3 · act · Conv 64 3×3 · act · max-pool 2 · dropout ¼ · dense 128 · act · dropout ½ ·
dense, as in Keras' MNIST example; SELU with LeCun-normal weights and alpha dropout, the others
with Keras' defaults (Glorot-uniform weights, zero biases).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.activations import Activation
from gradflow.errors import GradflowError

_SMALLEST = 6  # pixels: two valid 3×3 convolutions and a 2×2 pool leave one

_SELU_FLOOR = -1.7580993408473766  # −λα, what SELU tends to and a dropped unit is set to
_TRUNCATED_STD = 0.87962566103423978  # of N(0, 1) cut off at ±2


def article_network(
    activation: Activation,
    input_shape: tuple[int, int] = (28, 28),
    classes: int = 10,
    dropout: tuple[float, float] = (0.25, 0.5),
) -> nn.Sequential:
    """Return the network in channels-last layout: images (N, 1, H, W) to logits (N, classes).

    Weights are drawn from torch's default generator. With a monotone activation the pool comes
    before it: max f(x) = f(max x), on a quarter of the values.

    Raises
    ------
    GradflowError
        If the images are smaller than 6×6.
    """
    check_size(input_shape)
    selu = activation.name == "selu"
    drop = AlphaDropout if selu else Dropout
    second: list[nn.Module] = [_act(activation), nn.MaxPool2d(2)]
    if activation.monotonic:
        second.reverse()
    features = 64 * math.prod((pixels - 4) // 2 for pixels in input_shape)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), _act(activation),
        nn.Conv2d(32, 64, 3), *second,
        ChannelsLastFlatten(), drop(dropout[0]),
        nn.Linear(features, 128), _act(activation), drop(dropout[1]),
        nn.Linear(128, classes),
    )  # fmt: skip
    layers = [m for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        keras_initialize(layer, lecun=selu and layer is not layers[-1])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def check_size(input_shape: tuple[int, int]) -> None:
    """Refuse images that are too small for the network."""
    if min(input_shape) < _SMALLEST:
        raise GradflowError(
            f"images of {input_shape[0]}×{input_shape[1]} are too small for the network",
            f"it needs {_SMALLEST}×{_SMALLEST} or more",
        )


def _act(activation: Activation) -> nn.Module:
    # In place where the backward pass needs the result alone, which only monotone ones allow.
    return activation.module(inplace=activation.monotonic)


def keras_initialize(layer: nn.Conv2d | nn.Linear, lecun: bool) -> None:
    """Draw the weights as Keras does by default, or LeCun-normal ones; biases are 0."""
    if lecun:  # Keras' lecun_normal: variance 1/fan-in after truncation at two deviations
        std = math.sqrt(1 / layer.weight[0].numel()) / _TRUNCATED_STD
        nn.init.trunc_normal_(layer.weight, 0.0, std, -2 * std, 2 * std)
    else:
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ChannelsLastFlatten(nn.Module):
    """Flattens (N, C, H, W) in the order H, W, C: without a copy, since memory has that order."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, H·W·C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


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
        q, floor = 1 - self.p, _SELU_FLOOR
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
