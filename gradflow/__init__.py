"""Gradient-flow diagnostics: why a deep network does not train, and what to change.

>>> import gradflow
>>> gradflow.activation("sigmoid").derivative(10.0)  # doctest: +ELLIPSIS
np.float64(4.5395807735951...e-05)

Names are loaded when they are first used, so ``import gradflow`` imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from gradflow._version import __version__
from gradflow.lazy import loader
from gradflow.results.base import Result, Views

if TYPE_CHECKING:
    from gradflow.activations import activation
    from gradflow.benchmarking.plan import benchmark_plan
    from gradflow.benchmarking.run import benchmark
    from gradflow.benchmarking.stored import read_benchmark
    from gradflow.clipping import clip
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
    from gradflow.functions.chain import chain
    from gradflow.functions.evaluate import catalogue, curves, evaluate
    from gradflow.learning_rates import learning_rate
    from gradflow.script import watch_script
    from gradflow.sweeps import sweep
    from gradflow.theories.meanfield import theory
    from gradflow.watching import watch
    from gradflow.widths import width

__all__ = [
    "BenchmarkConfig",
    "ClipConfig",
    "GradflowError",
    "NetworkConfig",
    "SweepConfig",
    "TheoryConfig",
    "__version__",
    "activation",
    "benchmark",
    "benchmark_plan",
    "catalogue",
    "chain",
    "clip",
    "curves",
    "diagnose",
    "evaluate",
    "explain",
    "learning_rate",
    "read_benchmark",
    "sweep",
    "theory",
    "watch",
    "watch_script",
    "width",
]

#: The room of each name. No room has a function's name: once it is imported, it would hide it.
_HOME = {
    "BenchmarkConfig": "gradflow.configs",
    "ClipConfig": "gradflow.configs",
    "GradflowError": "gradflow.errors",
    "NetworkConfig": "gradflow.configs",
    "SweepConfig": "gradflow.configs",
    "TheoryConfig": "gradflow.configs",
    "activation": "gradflow.activations",
    "benchmark": "gradflow.benchmarking.run",
    "benchmark_plan": "gradflow.benchmarking.plan",
    "catalogue": "gradflow.functions.evaluate",
    "chain": "gradflow.functions.chain",
    "clip": "gradflow.clipping",
    "curves": "gradflow.functions.evaluate",
    "diagnose": "gradflow.diagnosis",
    "evaluate": "gradflow.functions.evaluate",
    "explain": "gradflow.findings.explain",
    "learning_rate": "gradflow.learning_rates",
    "read_benchmark": "gradflow.benchmarking.stored",
    "sweep": "gradflow.sweeps",
    "theory": "gradflow.theories.meanfield",
    "watch": "gradflow.watching",
    "watch_script": "gradflow.script",
    "width": "gradflow.widths",
}


def _views() -> Views:
    from gradflow import report

    return report


def _codes() -> Collection[str]:
    from gradflow.findings.check import added_checks
    from gradflow.findings.codes import CODES

    added_checks()  # which may register codes of their own
    return CODES


Result.views = staticmethod(_views)
Result.codes = staticmethod(_codes)

__getattr__ = loader(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
