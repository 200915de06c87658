"""Gradient-flow diagnostics: why a deep network does not train, and what to change.

>>> import gradflow
>>> gradflow.activation("sigmoid").derivative(10.0)  # doctest: +ELLIPSIS
np.float64(4.5395807735951...e-05)

Names are loaded when they are first used, so ``import gradflow`` imports nothing heavy.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gradflow._version import __version__
from gradflow.results.base import Result, Views

if TYPE_CHECKING:
    from gradflow.activations import activation
    from gradflow.configs import (
        BenchmarkConfig,
        ClipConfig,
        NetworkConfig,
        SweepConfig,
        TheoryConfig,
    )
    from gradflow.diagnosis import diagnose
    from gradflow.errors import GradflowError
    from gradflow.findings.explain import explain
    from gradflow.learning_rates import learning_rate
    from gradflow.script import watch_script
    from gradflow.sweeps import sweep
    from gradflow.watching import watch

__all__ = [
    "BenchmarkConfig",
    "ClipConfig",
    "GradflowError",
    "NetworkConfig",
    "SweepConfig",
    "TheoryConfig",
    "__version__",
    "activation",
    "diagnose",
    "explain",
    "learning_rate",
    "sweep",
    "watch",
    "watch_script",
]

_HOME = {
    "BenchmarkConfig": "gradflow.configs",
    "TheoryConfig": "gradflow.configs",
    "ClipConfig": "gradflow.configs",
    "GradflowError": "gradflow.errors",
    "NetworkConfig": "gradflow.configs",
    "SweepConfig": "gradflow.configs",
    "activation": "gradflow.activations",
    "diagnose": "gradflow.diagnosis",
    "explain": "gradflow.findings.explain",
    "learning_rate": "gradflow.learning_rates",
    "sweep": "gradflow.sweeps",
    "watch": "gradflow.watching",
    "watch_script": "gradflow.script",
}


def _views() -> Views:
    from gradflow import report

    return report


def _codes() -> Collection[str]:
    from gradflow.findings.codes import CODES

    return CODES


Result.views = staticmethod(_views)
Result.codes = staticmethod(_codes)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gradflow' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
