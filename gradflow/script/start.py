"""The diagnosis of a model on its own first batch, before its first step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from gradflow.diagnosis.first_pass import FirstPass
from gradflow.findings.thresholds import of_a_run
from gradflow.findings.words import at, named_layers
from gradflow.measurement.hooks import Hooks
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisResult, RateInUse
from gradflow.results.watching import WatchResult
from gradflow.watching import grad_scaler
from gradflow.watching.guard import never_raises
from gradflow.watching.losses import LossHandle


class Start(grad_scaler.ScalesAlone):
    """Listens to a model's first pass; what goes wrong in listening is noted, never raised.

    Attributes
    ----------
    failures
        Why there is no diagnosis.
    """

    def __init__(self, model: nn.Module) -> None:
        self.failures: list[str] = []
        self._scaled: tuple[Tensor, float] | None = None
        self._pass = FirstPass(model)
        self._hooks = Hooks()

    @never_raises
    def attach(self) -> None:
        """Listen until the model has learnt from a first batch."""
        self._hooks.add(self._pass)
        self._pass.attach()
        self._hooks.add(LossHandle(self))
        self._hooks.add(grad_scaler.listen(self))

    @never_raises
    def remove(self) -> None:
        """Listen no more."""
        self._hooks.remove()
        self._scaled = None

    @never_raises
    def before_backward(self, _: Tensor) -> None:
        """Expect gradients."""
        self._pass.before_backward()

    def after_backward(self, loss: Tensor) -> None:
        """Take the gradients, if the pass went through the model."""
        self._measure(loss)
        if self._pass.over or self.failures:
            self.remove()

    @never_raises
    def _measure(self, loss: Tensor) -> None:
        scaled = self._scaled
        scale = scaled[1] if scaled is not None and scaled[0] is loss else 1.0
        self._pass.after_backward(loss, scale)

    def result(self, run: WatchResult, lr: float) -> DiagnosisResult | None:
        """Return the diagnosis, beside its run; None where no pass was seen whole."""
        found: list[DiagnosisResult | None] = [None]
        self._result(found, run, lr)
        return found[0]

    @never_raises
    def _result(self, found: list[DiagnosisResult | None], run: WatchResult, lr: float) -> None:
        batch, optimizer = run.facts.batch, run.facts.optimizer
        found[0] = self._pass.result(
            lr,
            summed=batch is not None and any(c.summed for c in batch.criteria),
            optimizer=None if optimizer is None else of_a_run(optimizer.kind),
            in_use=rate_in_use(run, lr),
        )

    # -- a GradScaler

    @never_raises
    def after_scale(self, scaler: Any, loss: Any) -> None:
        """Note by what a loss was multiplied."""
        scale = grad_scaler.scale_of(scaler)
        if isinstance(loss, Tensor) and scale is not None:
            self._scaled = loss, float(scale)


def rate_in_use(run: WatchResult, lr: float) -> RateInUse | None:
    """Return the learning rate of a run, if it is one and nothing else decides how long steps are.

    A rate that changes was chosen with care, warm-up above all; clipping bounds the steps.
    """
    rates, optimizer = [s.learning_rate for s in run.steps if s.learning_rate], run.facts.optimizer
    steady = rates and max(rates) < _CHANGED * min(rates)
    if optimizer is None or not steady or (run.clip_rate or 0.0) > _CLIPPED:
        return None
    return RateInUse(lr, optimizer.kind, optimizer.momentum)


#: Factor by which a rate changes that has a schedule; share of the steps that clipping shortens.
_CHANGED, _CLIPPED = 1.5, 0.1
#: What a run says better itself, or what is no news of a run.
_OF_THE_RUN = frozenset({"unreached", "no-gradient", "batch", "uncovered", "unjudged", "broken"})


def added(run: WatchResult, start: DiagnosisResult) -> Iterator[Finding]:
    """Yield what the start's diagnosis adds to the findings of the run."""
    said = {found.code for found in run.findings}
    for found in start.findings:
        new = found.code not in said and found.code not in _OF_THE_RUN
        if new and found.severity != "info":
            yield _renumbered(found, start, {row.name: row for row in run.records})


def _renumbered(found: Finding, start: DiagnosisResult, rows: dict[str, Any]) -> Finding:
    """Return a finding with the layers' numbers of the run, which are in another order."""
    old = at(start.records, found.layers)
    new = [replace(row, index=rows[row.name].index) for row in old if row.name in rows]
    message = found.message
    if old and len(new) == len(old):
        message = message.replace(named_layers(old), named_layers(new))
    layers = tuple(sorted(row.index for row in new))
    return replace(found, message=f"at the first step, {message}", layers=layers)
