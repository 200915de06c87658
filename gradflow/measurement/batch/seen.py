"""What is held of one step while its facts are read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from gradflow.measurement.batch.criteria import CriterionCall


@dataclass
class SeenBatch:
    """One step of a model, from its inputs to the loss; hold it only while the step lasts.

    Attributes
    ----------
    model
        That made the outputs.
    inputs, outputs
        Tensors that it was called with, and tensors in what it returned, flattened.
    loss
        What ``backward()`` is called on; its graph is alive.
    criteria
        Calls of torch's own losses that were heard.
    lr, optimizer
        Of the step that follows, where known.
    scale
        A GradScaler's, by which the loss is multiplied.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    loss: Tensor
    criteria: tuple[CriterionCall, ...] = ()
    lr: float | None = None
    optimizer: Optimizer | None = None
    scale: float = 1.0
