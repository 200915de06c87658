"""The batch that a measurement runs on, and the loss it is measured with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.images import Dataset, load
from gradflow.errors import GradflowError

CLASSES = 10
_DATA_STREAM = 0x9E3779B9


@dataclass(frozen=True)
class Batch:
    """Inputs (examples, features) and labels (examples,), int64."""

    inputs: Tensor
    labels: Tensor
    classes: int


def batch(config: NetworkConfig, dtype: torch.dtype, device: torch.device, index: int = 0) -> Batch:
    """Return batch number `index` of `config`: the same for every replica.

    ``gaussian`` is one batch of N(0, 1) with as many features as the network is wide (see
    `gaussian_features`), and random labels, drawn from the seed; anything else is the images of a
    data set in their order, divided by 255, from the beginning again after the last whole batch.
    """
    if config.data == "gaussian":
        # A stream of its own: the network's first weights are drawn from the seed itself.
        generator = torch.Generator().manual_seed((config.seed + _DATA_STREAM) % 2**32)
        size = (config.batch_size, gaussian_features(config))
        inputs = torch.randn(size, generator=generator, dtype=dtype)
        labels = torch.randint(CLASSES, (config.batch_size,), generator=generator)
        return Batch(inputs.to(device), labels.to(device), CLASSES)
    data = load(None if config.data == "mnist" else config.data)
    return image_batch(data, config.batch_size, dtype, device, index)


def image_batch(
    data: Dataset, size: int, dtype: torch.dtype, device: torch.device, index: int = 0
) -> Batch:
    """Return batch number `index` of a data set, as `batch` does, without reading it again.

    Raises
    ------
    GradflowError
        If the data set has fewer images than a batch.
    """
    check_batch_size(size, data)
    start = index % (len(data.train_images) // size) * size
    taken = slice(start, start + size)
    images = torch.from_numpy(data.train_images[taken])
    labels = torch.from_numpy(data.train_labels[taken]).long()
    inputs = images.flatten(1).to(dtype) / 255
    return Batch(inputs.to(device), labels.to(device), data.classes)


def check_batch_size(size: int, data: Dataset) -> None:
    """Refuse batches of more images than there are."""
    available = len(data.train_images)
    if size > available:
        raise GradflowError(
            f"--batch-size {size} is more than the {available} images of {data.name}"
        )


def gaussian_features(config: NetworkConfig) -> int:
    """Return how many Gaussian numbers are one example of this architecture.

    As many as the network is wide; 3 × 16 × 16 for a cnn; 16 tokens of them for a transformer;
    8 per time step for a recurrent network.
    """
    return config.architecture.features(config.depth, config.width)
