"""What a watch notes of the loop around a model, beside its gradients."""

from __future__ import annotations

import threading
from typing import Any

from torch import Tensor, nn

from gradflow.measurement.batch import (
    SeenBatch,
    batch_facts,
    criteria_heard,
    gradient_facts,
    with_optimizer,
)
from gradflow.measurement.batch.graph import Graph
from gradflow.measurement.hooks import Hooks
from gradflow.results.facts import BatchFacts
from gradflow.results.watching import OptimizerFacts
from gradflow.training.optimizers import largest_rate
from gradflow.watching import grad_scaler
from gradflow.watching.calls import Calls
from gradflow.watching.conflicts import Conflicts
from gradflow.watching.gradients import Gradients
from gradflow.watching.guard import never_raises
from gradflow.watching.losses import LossHandle
from gradflow.watching.nonfinite import first_nonfinite_layer
from gradflow.watching.optimizers import Owned, optimizer_facts
from gradflow.watching.recording import LoopNotes, Loss, StepNotes
from gradflow.watching.spread import inner_spreads
from gradflow.watching.stale import Mark, Staleness, mark

#: Backward passes that may be read in vain for the facts of a batch, as a GAN's other loss is.
TRIES = 20


class Loop:
    """Listens to losses and optimizers.

    Attributes
    ----------
    first_batch, last_batch
        Facts of the first batch that the model learnt from, and of the latest that was read.
    lost_batch
        Of the one whose loss was the first that is not finite.
    inner
        How much layers' inputs differ between examples in the first and in the last of them.
    optimizer
        Of the first recorded step.
    owned
        Parameters of all optimizers that stepped.
    """

    def __init__(self, model: nn.Module, gradients: Gradients, compiled: bool = False) -> None:
        self.model, self.gradients, self.compiled = model, gradients, compiled
        self.failures: list[str] = []
        self.optimizer: OptimizerFacts | None = None
        self.first_batch: BatchFacts | None = None
        self.last_batch: BatchFacts | None = None
        self.lost_batch: BatchFacts | None = None
        self.inner: tuple[dict[str, float], ...] = ()
        self.conflicts = Conflicts()
        self.owned = Owned()
        self.nonfinite_layer: str | None = None
        self._owner: Any = None
        self._calls, self._staleness = Calls(), Staleness()
        self._scaled: tuple[Tensor, Any] | None = None
        self._losses: list[Loss] = []
        self._heard: Loss | None = None
        self._under_way: Tensor | None = None
        self._facts: BatchFacts | None = None
        self._seen: SeenBatch | None = None
        self._inner: dict[str, float] = {}
        self._learns_from_it = False
        self._first_rate: float | None = None
        self._fresh = False
        self._probe: tuple[nn.Parameter, Mark | None] | None = None
        self._recording, self._reads_batch, self._tries = False, False, 0
        self._lost = False

    def attach(self, hooks: Hooks, owner: Any) -> None:
        """Listen until the hooks come off."""
        self._owner = owner
        hooks.add(LossHandle(self))
        if not self.compiled:  # a hook would be compiled as well
            hooks.after_call(self.model, self._called)
        hooks.enter(criteria_heard(self._calls.criteria))

    @never_raises
    def plan(self, number: int, recording: bool, sampling: bool) -> None:
        """Plan the next step: its number among the recorded ones, and what is read of it."""
        self._losses, self._heard, self._facts, self._scaled = [], None, None, None
        self._recording, self._tries = recording, 0
        self._reads_batch = recording and sampling and _reads_batch(number)
        self._calls.switch(recording and (self._reads_batch or self.conflicts.wanted))
        if recording and sampling and number:
            self._staleness.begin(self._owned())
        else:
            self._staleness.end()

    def _owned(self) -> list[nn.Parameter]:
        """Return the parameters that an optimizer steps: it sets no others to 0."""
        named, owned = self.gradients.named.values(), self.owned.ids
        return [p for p in named if id(p) in owned] if owned else list(named)

    @never_raises
    def _called(self, *arguments: Any) -> None:
        self._calls.called(*arguments)

    # -- the backward pass

    @never_raises
    def before_backward(self, loss: Tensor) -> None:
        """Note the loss, until it is known whether it reaches the model."""
        if not self._recording or self._elsewhere(loss):
            return
        self._under_way = loss
        scale = None
        if self._scaled is not None and self._scaled[0] is loss:
            scale = grad_scaler.scale_of(self._scaled[1])
        self._heard = Loss(_number(loss), scale)
        self._fresh = bool(self._losses) and self._zeroed()
        self._staleness.before_pass()
        if self._reads_batch and self._tries < TRIES:
            self._read_batch(loss, scale)
        if not self._lost and self._heard.lost:
            self._lost = True
            self.lost_batch = self._facts or batch_facts(self._held(loss, scale))
            self.nonfinite_layer = first_nonfinite_layer(
                loss, self.gradients.named, self._calls.outputs
            )

    @never_raises
    def reached(self) -> None:
        """Take the loss whose backward pass has come to a parameter of the model."""
        if self._heard is None:
            return
        if self._fresh:  # evaluated anew, as LBFGS and SAM do
            self._losses.clear()
        self._losses.append(self._heard)
        self._heard = None
        if self._facts is not None:
            self.inner = (*self.inner[:1], self._inner)
            self._learns_from_it = self.first_batch is None
            self.first_batch = self.first_batch or self._facts
            self.last_batch, self._facts, self._reads_batch = self._facts, None, False
        if self.conflicts.wanted:
            self.conflicts.take(self._calls)

    @never_raises
    def after_backward(self, loss: Tensor) -> None:
        """Forget what did not reach the model."""
        if loss is not self._under_way:
            return
        self._under_way, self._heard, self._facts = None, None, None
        if self._learns_from_it and self._seen is not None and self.first_batch is not None:
            gradient_of = {id(p): p.grad for p in self.gradients.named.values()}
            self.first_batch = gradient_facts(self.first_batch, self._seen, gradient_of)
        self._seen, self._learns_from_it = None, False
        if self._recording:
            self._staleness.after_pass()
            self._probe = next(
                ((p, mark(p)) for p in self.gradients.named.values() if p.grad is not None), None
            )
        self._calls.forget()

    def _elsewhere(self, loss: Tensor) -> bool:
        """Return whether a loss is another thread's, and of another model.

        A gradient must not be looked at while a backward pass in the model's own thread writes it.
        """
        if self._calls.thread in (None, threading.get_ident()):
            return False
        leaves = Graph.of([loss.grad_fn]).leaves
        return self.gradients.ids.isdisjoint(map(id, leaves))

    def scaled(self, scaler: Any, loss: Any) -> None:
        """Note what a GradScaler made of a loss."""
        if self._recording and isinstance(loss, Tensor):
            self._scaled = loss, scaler

    def _zeroed(self) -> bool:
        """Return whether gradients were set to 0 since the last backward pass."""
        if self._probe is None:
            return False
        parameter, before = self._probe
        return mark(parameter) != before

    def _read_batch(self, loss: Tensor, scale: Tensor | None) -> None:
        self._tries += 1
        self._seen = self._held(loss, scale)
        self._facts = batch_facts(self._seen)
        self._inner = inner_spreads(loss, self.gradients.named)

    def _held(self, loss: Tensor, scale: Tensor | None) -> SeenBatch:
        """Return what is held of the step under way."""
        calls, owner = self._calls, self._owner
        rate = None if owner is None else largest_rate(owner)
        return SeenBatch(
            self.model,
            calls.inputs,
            calls.outputs,
            loss,
            tuple(calls.criteria),
            rate if isinstance(rate, float) else None,
            owner,
            1.0 if scale is None else float(scale),
        )

    # -- the step

    @never_raises
    def opened(self, owner: Any) -> None:
        """Take the optimizer that begins a step."""
        if owner is None:
            return
        self.owned.add(owner)
        if self.optimizer is None:
            self.optimizer, self._owner = optimizer_facts(owner), owner
            rate = largest_rate(owner)
            self._first_rate = rate if isinstance(rate, float) else None

    def notes(self, owner: Any) -> StepNotes:
        """Return what was noted of the step under way."""
        rate = None if owner is None else largest_rate(owner)
        return StepNotes(tuple(self._losses), rate, self._staleness.found(), self._staleness.on)

    @never_raises
    def summary(self) -> LoopNotes:
        """Return what was noted of the loop as a whole."""
        named = self.gradients.named
        unowned = [
            name
            for name, p in named.items()
            if self.owned.ids and id(p) not in self.owned.ids and p.grad is not None
        ]
        return LoopNotes(
            optimizer=self.optimizer,
            unowned=tuple(unowned),
            final=self.gradients.norms(),
            nonfinite_layer=self.nonfinite_layer,
            first_batch=self._updated(),
            last_batch=self.last_batch,
            lost_batch=self.lost_batch,
            inner=self.inner,
            conflicts=self.conflicts.found(),
            refused=self._calls.criteria.refused,
        )

    def _updated(self) -> BatchFacts | None:
        """Return the first batch's facts with those of its update."""
        kind = None if self.optimizer is None else self.optimizer.kind
        if self.first_batch is None or kind is None:
            return self.first_batch
        return with_optimizer(self.first_batch, kind, self._first_rate)


def _reads_batch(number: int) -> bool:
    """Return whether a batch's facts are read at this recorded step: 1, 8, 41, 81, 161, …"""
    if number < 40:
        return number in (0, 7)
    tens = number // 10
    return number % 10 == 0 and tens & (tens - 1) == 0


def _number(loss: Tensor) -> float | Tensor | None:
    """Return the value of a loss; nothing waits for a device."""
    value = loss.detach()
    if value.numel() != 1:
        value = value.sum()
    if value.is_complex():
        return None
    return value.item() if value.is_cpu else value.clone().reshape(())
