"""A diagnosis of the pass that a program makes itself: hooks alone, nothing is run again."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.run import measured
from gradflow.diagnosis.subject import Pass, Subject, sizes_of
from gradflow.diagnosis.user_module import shared_rows
from gradflow.diagnosis.zero_weights import rows_at_zero, zero_parameters
from gradflow.measurement import walks
from gradflow.measurement.attention import AttentionCalls
from gradflow.measurement.hooks import Hooks, leave
from gradflow.measurement.modules import normalizes_batch, takes_hooks
from gradflow.measurement.preserving import plain_name
from gradflow.measurement.recorder import Recorder
from gradflow.measurement.records import Measurement, measurement
from gradflow.measurement.recurrence import RecurrentCalls
from gradflow.results.diagnosis import DiagnosisFacts, DiagnosisResult, RateInUse
from gradflow.watching.guard import never_raises


class _Quiet(Recorder):
    """A recorder in a program that is not ours: what goes wrong in it is noted, never raised."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, rescaled=False)
        self.failures: list[str] = []

    layer_called = never_raises(Recorder.layer_called)
    activation_called = never_raises(Recorder.activation_called)
    activation_returned = never_raises(Recorder.activation_returned)
    take_delta = never_raises(Recorder.take_delta)


class _QuietRecurrence(RecurrentCalls):
    """The same for recurrent layers."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__()
        self.failures = failures

    def _before(self, name: str) -> Any:
        return functools.partial(self._safely, super()._before(name))

    @never_raises
    def _safely(self, hook: Callable[..., Any], *arguments: Any) -> Any:
        return hook(*arguments)


class FirstPass:
    """Records a model's first forward and backward pass in a loop that is not ours.

    Call `before_backward` and `after_backward` around every backward pass until `over`.

    Attributes
    ----------
    over
        Whether there is nothing more to see.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.over = False
        self._seen: Measurement | None = None
        self._loss = math.nan
        self._sizes = (0.0, 0)
        self._recorder = _Quiet(model)
        self._attention = AttentionCalls(self._recorder.records)
        self._recurrent = _QuietRecurrence(self._recorder.failures)
        self._modes: list[Any] = []
        self._hooks = Hooks()
        self._inputs: Any = None
        self._facts = DiagnosisFacts()

    def attach(self) -> None:
        """Hook the model."""
        self._hooks.enter(self._recorder.attached())
        if all(m.training for m in walks.parts(self.model) if isinstance(m, nn.RNNBase)):
            self._recurrent.attach(self.model, self._hooks)
        if takes_hooks(self.model):
            self._hooks.before_call(self.model, self._start)
            self._hooks.after_forward(self.model, self._end, always=True)

    def remove(self) -> None:
        """Take the hooks off."""
        self.over = True
        self._leave()
        self._hooks.remove()
        self._recorder.await_backward()  # hooks of gradients stay with the graph

    # -- the forward pass

    def _start(self, _: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """See functions, too, while the model runs."""
        if self._modes or not torch.is_grad_enabled():
            return
        if self._inputs is None:
            self._inputs = (*inputs, *keywords.values())
        told = self._attention.functions().items()
        also = {function: functools.partial(self._tell, call) for function, call in told}
        mode = self._recorder.functions(also)
        mode.__enter__()  # type: ignore[no-untyped-call]
        self._modes.append(mode)

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:  # whatever attention of somebody's own is called with
            self._recorder.failures.append(str(error))

    def _end(self, *_: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        while self._modes:
            leave(self._modes.pop())

    # -- the backward pass

    def before_backward(self) -> None:
        """Expect gradients, unless there are some of a pass before."""
        self._leave()  # of a forward pass that raised
        if not self._recorder.records:
            return
        if any(p.grad is not None for p in walks.parameters(self.model)):
            self.remove()
            return
        self._recurrent.closed = True
        self._recorder.begin_backward()

    def after_backward(self, loss: Tensor, scale: float) -> None:
        """Measure, if the pass went through the model.

        Parameters
        ----------
        scale
            By which a GradScaler had multiplied the loss.
        """
        if self.over or not self._recorder.records:
            return
        gradients = {id(p): p.grad for p in walks.parameters(self.model) if p.requires_grad}
        if all(g is None for g in gradients.values()):
            self._recurrent.closed = False
            self._recorder.await_backward()
            return
        self.remove()
        recorder = self._recorder
        if recorder.failures:
            return
        self._attention.note()
        recorder.take_gradients(gradients)
        self._unscale(scale)
        seen = measurement(recorder.records, loss.detach(), replicated=False)
        self._seen = replace(
            seen,
            names=[plain_name(name) for name in seen.names],
            recurrent=tuple(self._recurrent.calls),
            beside=recorder.beside,
            uncovered=recorder.uncovered,
        )
        self._loss = float(loss.detach().double().mean()) / scale
        self._facts, self._inputs = self._facts_of(self._seen), None
        self._sizes = sizes_of(self.model)

    def _unscale(self, scale: float) -> None:
        """Divide a scale out of what was measured: magnitudes are kept with an exponent of two."""
        if scale == 1:
            return
        for record in self._recorder.records:
            for name in ("delta_exponent", "weight_exponent"):
                before = record.values.get(name)
                if before is None:
                    before = torch.zeros(1, device=record.weights[0].device, dtype=torch.float64)
                record.values[name] = before - math.log2(scale)
        for call in self._recurrent.calls:
            if call.delta_rms is not None:
                call.delta_rms = call.delta_rms / scale

    # -- what comes of it

    def result(
        self,
        lr: float,
        *,
        summed: bool,
        optimizer: str | None = None,
        in_use: RateInUse | None = None,
    ) -> DiagnosisResult | None:
        """Return the diagnosis; None where no pass was seen whole.

        Parameters
        ----------
        lr
            Learning rate of the first step.
        summed
            Whether the loss is a sum over the examples.
        optimizer
            Name of its class.
        in_use
            The learning rate, if it is to be judged.
        """
        seen = self._seen
        if seen is None:
            return None
        examples = self._facts.examples or 1
        given = Pass(
            seen,
            examples=examples,
            averaged=not summed,
            as_given=True,
            loss=self._loss,
            sizes=lambda: self._sizes,
            facts=replace(self._facts, example_loss=self._loss / (examples if summed else 1)),
        )
        return measured(Subject(lambda: [given], lr, optimizer=optimizer, in_use=in_use))

    def _facts_of(self, seen: Measurement) -> DiagnosisFacts:
        """Say how the pass was seen; what starts at 0 is left for the run itself to judge."""
        given = Objective(self._inputs or ())
        zero = [n for n in zero_parameters(self.model) if not n.endswith("bias")]
        return DiagnosisFacts(
            examples=given.examples(),
            unreached=seen.unreached(),
            shared=tuple(shared_rows(self.model, seen)),
            same_inputs=given.same_inputs(),
            batch_norm=normalizes_batch(self.model),
            zero_weights=tuple(plain_name(name) for name in zero),
            started=rows_at_zero(seen) if zero else (),
            repeated=seen.repeated(),
            uncovered=tuple(plain_name(name) for name in seen.uncovered.names),
            uncovered_share=seen.uncovered.share,
        )
