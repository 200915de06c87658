"""Devices and number formats by name."""

from __future__ import annotations

import re

import torch

from gradflow.configs.choices import DTYPES
from gradflow.errors import GradflowError, named

_HINT = "use --device cpu or auto"


def select(device: str) -> torch.device:
    """Return the device of that name.

    Parameters
    ----------
    device
        ``auto`` (CUDA where there is one, else MPS, else the CPU), ``cpu``, ``cuda``,
        ``cuda:N`` or ``mps``.

    Raises
    ------
    GradflowError
        For another name, and for a device that this machine or this PyTorch does not have.
    """
    name = device.strip().lower()
    if name == "auto":
        return _best()
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise GradflowError(
            f"unknown device '{device}'", f"{_HINT}; others are cuda, cuda:N and mps"
        )
    if name.startswith("cuda"):
        _check_cuda(name)
    if name == "mps" and not torch.backends.mps.is_available():
        raise GradflowError("device 'mps' is not available here", _HINT)
    return torch.device(name)


def _best() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _check_cuda(name: str) -> None:
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found == 0:
        why = "no GPU was found" if torch.version.cuda else "this PyTorch is built without CUDA"
        raise GradflowError(f"device '{name}' is not available: {why}", _HINT)
    index = int(name.partition(":")[2] or 0)
    if index >= found:
        raise GradflowError(
            f"device '{name}' is not available: the last one is cuda:{found - 1}", _HINT
        )


def dtype(name: str) -> torch.dtype:
    """Return the torch dtype ``float32``, ``float64``, ``float16`` or ``bfloat16``.

    Raises
    ------
    GradflowError
        For another name.
    """
    dtypes: dict[str, torch.dtype] = {known: getattr(torch, known) for known in DTYPES}
    return named("dtype", name, dtypes)
