"""A function of one's own, as `torch.autograd` takes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Doubled(torch.autograd.Function):
    """Twice its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return 2 x."""
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to x."""
        return 2 * gradient
