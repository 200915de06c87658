"""Small benchmarks, and rows of none, that the tests of `gradflow.benchmarking` share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from gradflow.benchmarking.events import EpochDone
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.results.benchmark import BenchmarkResult, FlowRow, HistoryRow


def idx(array: Any) -> bytes:
    """Return an array of bytes as an IDX file."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_stripes(folder: Path, shape: tuple[int, int] = (8, 8), classes: int = 3) -> str:
    """Write 96 and 30 images of noise that are brighter in one of some stripes."""
    random = np.random.default_rng(0)
    for part, count in (("train", 96), ("t10k", 30)):
        labels = np.arange(count, dtype=np.uint8) % classes
        images = random.integers(0, 128, (count, *shape), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 3] += 100
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return str(folder)


def small(data: str, **options: Any) -> BenchmarkConfig:
    """Return a benchmark of two activations and two epochs."""
    fast = {"act": ("relu", "selu"), "epochs": 2, "batch_size": 32, "device": "cpu"}
    fast |= {"validation_size": 16, "workers": 1}
    return BenchmarkConfig(**{**fast, "data": data, **options})


def history_row(
    activation: str = "relu", seed: int = 0, epoch: int = 1, **given: Any
) -> HistoryRow:
    """Return an epoch."""
    values = {"train_loss": 0.5, "train_accuracy": 0.8, "test_loss": 0.4, "test_accuracy": 0.9}
    values |= {"gradient_norm": 1.0, "seconds": 2.0, "validation_accuracy": 0.9}
    return HistoryRow(activation=activation, seed=seed, epoch=epoch, **{**values, **given})


def flow_row(activation: str = "relu", index: int = 1, **given: Any) -> FlowRow:
    """Return a layer in an epoch."""
    values = {"gradient_norm": 0.1, "update_ratio": 1e-3, "name": f"conv {index}"}
    values |= {"seed": 0, "epoch": 1}
    return FlowRow(activation=activation, index=index, **{**values, **given})


def epoch_done(*row: Any, **given: Any) -> EpochDone:
    """Return an epoch without flow."""
    return EpochDone(history_row(*row, **given), ())


def numbers(result: BenchmarkResult) -> list[tuple[Any, ...]]:
    """Everything in the history but the time, and everything in the flow."""
    history = [dataclasses.astuple(dataclasses.replace(row, seconds=0.0)) for row in result.history]
    return history + [dataclasses.astuple(row) for row in result.flow]
