"""Devices and number formats by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from gradflow.configs.choices import DTYPES
from gradflow.errors import GradflowError, named
from gradflow.results.base import RunMeta

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


class Networks(Protocol):
    """What says where networks are built, in which numbers, and from which seeds."""

    @property
    def device(self) -> str:
        """Name of the device."""

    @property
    def dtype(self) -> str:
        """Name of the number format."""

    @property
    def seed(self) -> int:
        """The first seed."""

    @property
    def seeds(self) -> int:
        """Networks, each with a seed of its own."""


def run_meta(networks: Networks, threads: int, options: Mapping[str, Any]) -> RunMeta:
    """Return where a result of such networks comes from.

    Parameters
    ----------
    threads
        Of torch.
    options
        All of them; those that are not set are left out.
    """
    return RunMeta(
        torch=torch.__version__,
        device=str(select(networks.device)),
        dtype=networks.dtype,
        seeds=tuple(range(networks.seed, networks.seed + networks.seeds)),
        threads=threads,
        config={name: value for name, value in options.items() if value is not None},
    )
