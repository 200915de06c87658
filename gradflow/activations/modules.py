"""The torch side of the activations. Imported only when a module is asked for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gradflow.activations.gated import QUICK_GELU_SLOPE


class QuickGELU(nn.Module):
    """x·σ(1.702x), the sigmoid form of GELU that CLIP uses (arXiv:1606.08415, section 2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x·σ(1.702x) of the input's shape and dtype."""
        return x * torch.sigmoid(QUICK_GELU_SLOPE * x)


def _class(name: str) -> Any:
    home, colon, own = name.partition(":")
    if colon:
        return getattr(importlib.import_module(home), own)
    return QuickGELU if name == QuickGELU.__name__ else getattr(nn, name)


def build_module(
    torch_class: str, arguments: Mapping[str, float | str], inplace: bool
) -> nn.Module:
    """Return an instance of the class by that name, in place where it can be and is asked to."""
    cls = _class(torch_class)
    options: dict[str, Any] = dict(arguments)
    if inplace and "inplace" in inspect.signature(cls).parameters:
        options["inplace"] = True
    module: nn.Module = cls(**options)
    return module
