"""`BenchmarkConfig`, where gradflow 0.1 had it."""

from gradflow.configs.benchmark import BenchmarkConfig

__all__ = ["BenchmarkConfig"]
