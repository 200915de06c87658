"""What is diagnosed, and what one pass over it gives: the same for every kind of network.

Three modules make a subject: `builtin` (a config's network, all seeds in one pass), `user_module`
(a module that was not built here) and `model_files` (such a module from a file, once per seed).
They stand beside this one because each knows much of its own kind; from here on, none is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.prediction import DeltaPrediction
from gradflow.measurement import walks
from gradflow.measurement.half_precision import Entries, Underflow, gradient_entries, underflow
from gradflow.measurement.norms import read_norms
from gradflow.measurement.preserving import preserved, uncompiled
from gradflow.measurement.records import Measurement
from gradflow.results.diagnosis import DiagnosisFacts, RateInUse

#: A module, and the losses (one per replica) of running it.
Run = tuple[nn.Module, Callable[[nn.Module], Tensor]]


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass gave.

    Attributes
    ----------
    measurement
        In the network's dtype, or in a wider one where that lost something.
    examples
        In the batch.
    averaged
        Whether the loss is a mean over the examples, not their sum.
    loss
        As the result shows it.
    underflow
        Of a network in half precision: what that loses.
    prediction
        What mean-field theory predicts; None where it says nothing.
    facts
        How the pass was measured.
    as_given
        Whether the loss was measured as it is trained on; else that is the mean over the examples.
    known
        Further fields of the result, by name.
    after_step
        The same after one step of the weights that start at 0, where that was measured.
    sizes
        Returns the norm of all weights of one network that are trained, and how many entries.
    """

    measurement: Measurement
    examples: int
    averaged: bool
    loss: float
    underflow: Underflow | None = None
    prediction: DeltaPrediction | None = None
    facts: DiagnosisFacts = DiagnosisFacts()
    as_given: bool = False
    known: dict[str, Any] = field(default_factory=dict)
    after_step: Measurement | None = None
    sizes: Callable[[], tuple[float, int]] | None = None


@dataclass(frozen=True)
class Subject:
    """What is diagnosed.

    Attributes
    ----------
    passes
        Measures it when called: one pass for all its seeds, or one for each.
    lr
        Learning rate that the update ratio is for.
    dtype
        Name of the dtype that was asked for; None: that of the loss.
    seeds
        Of its random numbers; none: they are the user's.
    options
        What it was made from, as the result keeps it.
    optimizer
        Name of the optimizer that the verdict is for; None: any.
    in_use
        The rate `lr`, and its optimizer, where it is in use.
    """

    passes: Callable[[], Iterable[Pass]]
    lr: float
    dtype: str | None = None
    seeds: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    optimizer: str | None = None
    in_use: RateInUse | None = None


def sizes_of(model: nn.Module, networks: int = 1) -> tuple[float, int]:
    """Return the norm of the weights that are trained, and how many entries they have.

    Parameters
    ----------
    networks
        That the model holds as replicas: the sizes are those of one, on average.
    """
    trained = [p.detach() for p in walks.parameters(model) if p.requires_grad]
    entries = sum(p.numel() for p in trained)
    return math.hypot(*map(float, read_norms(trained))) / networks**0.5, entries // networks


def seeds_of(config: NetworkConfig) -> tuple[int, ...]:
    """Return the seeds that `config` asks for."""
    return tuple(range(config.seed, config.seed + config.seeds))


def lost_in_half(single: Run, half: Run, *, replicated: bool) -> Underflow:
    """Compare the gradients of the same pass in float32 and half precision, entry by entry.

    Both modules are left as they were.

    Parameters
    ----------
    replicated
        Whether the modules hold one network per seed.
    """
    wide, narrow = (_entries(*run, replicated=replicated) for run in (single, half))
    return underflow(wide, narrow, replicated=replicated)


def _entries(
    model: nn.Module, losses: Callable[[nn.Module], Tensor], *, replicated: bool
) -> list[Entries]:
    with preserved(model), uncompiled(model), torch.inference_mode(False):
        return gradient_entries(model, losses, replicated=replicated)
