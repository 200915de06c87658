"""What ``clip`` trains, by name. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Task:
    """Something to train under every policy.

    Attributes
    ----------
    make
        Address of a function, (network, config) -> problem.
    summary
        In a few words, for help and titles.
    defaults
        Fields of `NetworkConfig` that it has other defaults for.
    takes
        Fields of `NetworkConfig` that mean something to it; None: all.
    """

    make: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    takes: frozenset[str] | None = None


_SEQUENCE = frozenset(
    {"arch", "width", "batch_size", "lr", "seed", "seeds", "dtype", "device", "spectral_radius"}
)
_SEQUENCE_DEFAULTS = {"arch": "rnn", "width": 32, "batch_size": 32, "lr": 0.1, "seeds": 5}

#: name -> task. A new one is one entry and its function; help and completion follow.
TASKS: dict[str, Task] = {
    "mlp": Task("gradflow.clipping.tasks:described", "the network of the options"),
    "deep-mlp": Task(
        "gradflow.clipping.tasks:described",
        "a deep MLP with too large weights",
        {"depth": 6, "init": "he-normal", "gain": 1.5, "lr": 0.1, "seeds": 5},
    ),
    "adding": Task(
        "gradflow.clipping.tasks:adding", "the adding problem", _SEQUENCE_DEFAULTS, _SEQUENCE
    ),
    "copy": Task("gradflow.clipping.tasks:copy", "the copy task", _SEQUENCE_DEFAULTS, _SEQUENCE),
    "mnist-rows": Task(
        "gradflow.clipping.tasks:mnist_rows",
        "MNIST read row by row",
        {**_SEQUENCE_DEFAULTS, "data": "mnist"},
        _SEQUENCE | {"data"},
    ),
}

#: Where nothing is said of a task or of a network.
DEFAULT_TASK = "deep-mlp"
