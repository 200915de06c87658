"""What can be asked for: one frozen config per kind of experiment. Standard library only."""

from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.network import RECURRENT, NetworkConfig
from gradflow.configs.sweep import SweepConfig
from gradflow.configs.theory import TheoryConfig

__all__ = [
    "RECURRENT",
    "BenchmarkConfig",
    "ClipConfig",
    "NetworkConfig",
    "SweepConfig",
    "TheoryConfig",
]
