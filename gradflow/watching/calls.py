"""The latest call of a watched model, and of torch's losses, held while a step needs them."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.measurement.batch import CriterionCall, refused_facts
from gradflow.measurement.hooks import tensors_in
from gradflow.results.facts import RefusedFacts

#: Calls of losses that are held of one step; an evaluation without no_grad() makes many.
MOST_CALLS = 16


class HeardCriteria(list[CriterionCall]):
    """Calls of losses that a gradient is wanted of, the latest few, while `on`."""

    on = False
    refused: RefusedFacts | None = None  # the first that raised, whenever that was

    def append(self, call: CriterionCall) -> None:
        """Take a call."""
        if call.refused:
            self.refused = self.refused or refused_facts(call)
            return
        if not self.on or not torch.is_grad_enabled():
            return
        if len(self) >= MOST_CALLS:
            del self[0]
        super().append(call)


class Calls:
    """What the model was called with and what it returned, in the calls of one step.

    Attributes
    ----------
    on
        Whether the step under way needs them.
    count
        Calls since the last `forget`.
    thread
        In which the model was called last, with gradients; None before.
    """

    def __init__(self) -> None:
        self.on, self.count = False, 0
        self.thread: int | None = None
        self.criteria = HeardCriteria()
        self.inputs: tuple[Tensor, ...] = ()
        self.outputs: tuple[Tensor, ...] = ()

    def switch(self, on: bool) -> None:
        """Hold calls from now on, or hold nothing."""
        self.on = self.criteria.on = on
        self.forget()

    def forget(self) -> None:
        """Let go of what is held."""
        self.inputs, self.outputs, self.count = (), (), 0
        self.criteria.clear()

    def called(
        self, model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None:
        """Take a call of the model; a forward hook."""
        if not torch.is_grad_enabled():
            return
        if "_is_replica" not in vars(model):  # DataParallel calls copies in threads
            self.thread = threading.get_ident()
        if self.on:
            self.inputs = tuple(tensors_in((arguments, keywords)))
            self.outputs = tuple(tensors_in(output))
            self.count += 1
