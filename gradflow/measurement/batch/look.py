"""Looking at the one batch of a pass, from the model's inputs to the gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.measurement import walks
from gradflow.measurement.batch.criteria import CriterionCall, criteria_heard
from gradflow.measurement.batch.facts import batch_facts
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.updates import Norms, gradient_facts
from gradflow.measurement.hooks import Hooks, tensors_in
from gradflow.measurement.modules import takes_hooks
from gradflow.results.facts import BatchFacts


class BatchLook:
    """Takes the facts of one batch while a model runs, forwards and backwards.

    Attributes
    ----------
    facts
        What was seen so far.
    """

    def __init__(self, model: nn.Module, lr: float | None = None) -> None:
        self.model, self.lr = model, lr
        self.facts = BatchFacts()
        self._calls: list[CriterionCall] = []
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._seen: SeenBatch | None = None
        self._random: Tensor | None = None
        self._draws = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hear the model and torch's losses while the block lasts, then let go of all tensors."""
        with Hooks() as hooks, criteria_heard(self._calls):
            if takes_hooks(self.model):
                hooks.before_forward(self.model, self._before)
                hooks.after_call(self.model, self._after, first=True)
            try:
                yield
            finally:
                self._seen = None
                for held in (self._calls, self._inputs, self._outputs):
                    held.clear()

    def _before(self, *_: Any) -> None:
        self._random = _random_state(self.model)

    def _after(
        self, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None:
        if not self._inputs:
            self._inputs.extend(tensors_in((arguments, keywords)))
        self._outputs.extend(tensors_in(output))
        if self._random is not None:
            self._draws |= not torch.equal(self._random, _random_state(self.model))

    def before_backward(self, loss: Tensor) -> None:
        """Take the facts of the forward pass."""
        self._seen = self._now(loss)
        self.facts = replace(batch_facts(self._seen), draws=self._draws)

    def after_backward(
        self, gradient_of: Mapping[int, Tensor | None], norms: Norms | None = None
    ) -> None:
        """Add those of the gradients; all is by the parameters' ``id``."""
        if self._seen is not None:
            self.facts = gradient_facts(self.facts, self._seen, gradient_of, norms)
            self._seen = None

    def _now(self, loss: Tensor) -> SeenBatch:
        return SeenBatch(
            self.model,
            tuple(self._inputs),
            tuple(self._outputs),
            loss,
            tuple(self._calls),
            self.lr,
        )


def _random_state(model: nn.Module) -> Tensor:
    """Return where torch's random numbers stand, of the device that the model is on."""
    device = next((p.device for p in walks.parameters(model)), torch.device("cpu"))
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()
