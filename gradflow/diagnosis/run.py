"""diagnose(): a subject's forward and backward passes become one result, with its findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis import checks
from gradflow.diagnosis.arguments import AnyOptimizer, check_module, check_numbers, in_use
from gradflow.diagnosis.checks.precision import interrupted, no_remedies
from gradflow.diagnosis.model_files import Given, model_in_file, model_of
from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.rows import (
    in_chain,
    layer_rows,
    pass_fields,
    recurrences,
    small_gains,
    stacked_fields,
    step_rate,
    step_rows,
    whole_deltas,
)
from gradflow.diagnosis.subject import Pass, Subject
from gradflow.diagnosis.user_module import materialized, user_module
from gradflow.diagnosis.zero_weights import zero_layers
from gradflow.findings.check import judged
from gradflow.measurement.alone import one_at_a_time
from gradflow.measurement.batch import with_optimizer
from gradflow.measurement.preserving import original, uncompiled
from gradflow.measurement.rates import fit_rates, interval, rate_span
from gradflow.results.base import RunMeta
from gradflow.results.diagnosis import DiagnosisResult, RateInUse
from gradflow.results.facts import BatchFacts
from gradflow.training.optimizers import OPTIMIZERS, find

if TYPE_CHECKING:
    from gradflow.diagnosis.remedies.grid import Plan
    from gradflow.diagnosis.remedies.outcome import Outcome, Progress

Seen = Callable[[DiagnosisResult], None]
#: Learning rate that the update ratio is for, where none is named.
USUAL_RATE = 0.01


@overload
def diagnose(
    model: NetworkConfig,
    /,
    *,
    lr: float | None = None,
    remedies: bool = False,
    trial_steps: int | None = None,
    optimizer: AnyOptimizer | None = None,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> DiagnosisResult: ...
@overload
def diagnose(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float | None = None,
    remedies: bool = False,
    trial_steps: int | None = None,
    optimizer: AnyOptimizer | None = None,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> DiagnosisResult: ...
@one_at_a_time
def diagnose(
    model: NetworkConfig | nn.Module,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float | None = None,
    remedies: bool = False,
    trial_steps: int | None = None,
    optimizer: AnyOptimizer | None = None,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> DiagnosisResult:
    """Measure gradient flow through a network, and say what is wrong with it.

    Parameters
    ----------
    model
        A config, of which `seeds` networks are built and measured at once; or any module, which
        is left as it was (parameters, buffers, ``.grad``, mode, hooks, random state). Compiled
        and data-parallel modules are measured through the module inside.
    inputs, targets
        For a module: what it is called with (a tensor; a tuple or list of arguments; a dictionary
        of keyword arguments), and what the loss is called with after its output.
    loss
        ``loss(output, targets)``, or ``loss(output)`` without targets; its mean or sum over the
        examples. Cross-entropy by default; without targets, the output's own ``loss``.
    lr
        Learning rate in use: the update ratio is for it, and a finding says where it is far off
        for a healthy network. Unless given, the ratio is for a config's own, or 0.01.
    remedies
        For an unhealthy network: change one thing at a time, on copies, measure again, and train
        each on what was given (a built-in network on MNIST).
    trial_steps
        Steps of each such training; None: 100, fewer where they would take long; 0: none.
    optimizer
        For which the verdict is: ``"sgd"``, ``"adam"``, …, or one in use, whose learning rate is
        taken unless `lr` is given. Without one, a config's network is judged for SGD; a module
        is unhealthy where neither SGD nor Adam would train it, and what SGD alone would not train
        is a warning.
    progress
        Called with how many remedies were tried, and of how many.
    seen
        Called with the result so far, before remedies are tried.

    Returns
    -------
    DiagnosisResult
        One row per layer with weights, in the order of the forward pass.

    Raises
    ------
    GradflowError
        If the model raises (with the layer that it reached and the exception's line), trains no
        parameter, or gives nothing to take a loss of; for arguments of another kind.
    """
    kind, lr = in_use(optimizer, lr)
    check_numbers(lr, trial_steps)
    trials = _Trials(remedies, trial_steps, kind, progress, seen)
    if not isinstance(model, NetworkConfig):
        check_module(model, inputs, loss)
        objective, rate = Objective(inputs, targets, loss), USUAL_RATE if lr is None else lr
        result = measured(judged_for(user_module(model, objective, rate), kind, lr))
        return trials.of_module(model, objective, rate, result)
    from gradflow.diagnosis.builtin import built_in  # scipy and theory: not for a user's module

    def measure(config: NetworkConfig) -> DiagnosisResult:
        changed = built_in(config, predicted=False)
        return measured(judged_for(changed, kind or "sgd"))

    config = model if lr is None else replace(model, lr=lr)
    result = measured(judged_for(built_in(config), kind or "sgd", lr))
    return trials.of_config(config, result, measure)


@dataclass(frozen=True)
class _Trials:
    """Whether and how remedies are tried on what is unhealthy."""

    wanted: bool
    steps: int | None
    optimizer: str | None
    progress: Progress | None
    seen: Seen | None

    def of_config(
        self,
        config: NetworkConfig,
        result: DiagnosisResult,
        measure: Callable[[NetworkConfig], DiagnosisResult],
    ) -> DiagnosisResult:
        """Return the result with the remedies that were tried on a built-in network."""
        if not self.begin(result):
            return result
        from gradflow.diagnosis.remedies.built_in import tried

        return _with(result, tried(config, result, measure, self._plan(), self._told()))

    def of_module(
        self, model: nn.Module, objective: Objective, lr: float, result: DiagnosisResult
    ) -> DiagnosisResult:
        """Return the result with the remedies that were tried on copies of a module."""
        if not self.begin(result):
            return result
        from gradflow.diagnosis.remedies.modules import tried_on

        def measure(changed: nn.Module, objective: Objective) -> DiagnosisResult:
            return measured(judged_for(user_module(changed, objective, lr), self.optimizer))

        model = materialized(original(model), objective)
        with uncompiled(model):
            found = tried_on(model, objective, result, measure, self._plan(), self._told())
        return _with(result, found)

    def _plan(self) -> Plan:
        from gradflow.diagnosis.remedies.grid import Plan

        return Plan(self.steps, self.optimizer)

    def _told(self) -> Progress:
        return self.progress or (lambda _done, _total: None)

    def begin(self, result: DiagnosisResult) -> bool:
        """Return whether there is anything to remedy; if so, say what was measured."""
        needed = self.wanted and result.verdict != "healthy"
        if needed and self.seen is not None:
            self.seen(result)
        return needed


def _with(result: DiagnosisResult, found: Outcome) -> DiagnosisResult:
    """Return the result with what trying remedies gave."""
    if not found.copied:
        return replace(result, findings=(*result.findings, *no_remedies(found.note)))
    return replace(
        result,
        findings=(*result.findings, *(interrupted() if found.interrupted else ())),
        remedies=found.rows,
        untreated_loss=found.untreated,
        trial_steps=found.steps or None,
        trial_note=found.note,
    )


@one_at_a_time
def diagnose_file(
    reference: str,
    config: NetworkConfig,
    input_shape: str | None = None,
    *,
    input_ids: int | None = None,
    vocab: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    remedies: bool = False,
    trial_steps: int | None = None,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> DiagnosisResult:
    """Measure the module that ``file.py:name`` names, once per seed of `config`.

    Parameters
    ----------
    config
        Of which batch size, loss, learning rate, seeds, dtype and device apply.
    input_shape
        Of one example, ``"3,32,32"``; where the file gives inputs of its own, it may be left out.
    input_ids, vocab
        Instead: the length of one example of random token numbers, and how many tokens there are.
    optimizer
        For which the verdict is; None: any.
    lr
        The rate of `config`, where it is in use.
    remedies, trial_steps, progress, seen
        As in `diagnose`; they are tried on the first seed's model.

    Raises
    ------
    GradflowError
        If the file, its model or the options are unusable.
    """
    given = Given(input_shape, input_ids, vocab)
    subject = model_in_file(reference, config, given)
    result = measured(judged_for(subject, optimizer, lr))
    trials = _Trials(remedies, trial_steps, optimizer, progress, seen)
    if not trials.wanted or result.verdict == "healthy":
        return result
    model, objective = model_of(reference, config, given, config.seed)
    return trials.of_module(model, objective, config.lr, result)


def judged_for(subject: Subject, optimizer: str | None, lr: float | None = None) -> Subject:
    """Return the subject with the optimizer that its verdict is to be for, and a rate in use.

    Raises
    ------
    GradflowError
        If torch.optim has none of that name.
    """
    if optimizer is not None:
        find(optimizer)
    in_use = None if lr is None else RateInUse(lr, optimizer)
    return replace(subject, optimizer=optimizer, in_use=in_use)


def measured(subject: Subject) -> DiagnosisResult:
    """Run a subject's passes, make one result of them, and check it.

    What is one for all seeds (the layers' names, the loss, the facts) is the last pass's.
    """
    networks = []
    for seen in subject.passes():
        networks.append(pass_fields(seen, subject.lr))
    return judged_pass(subject, seen, stacked_fields(networks))


def judged_pass(subject: Subject, seen: Pass, fields: list[dict[str, Any]]) -> DiagnosisResult:
    """Make a result of the fields of every row, (replicas,) each, and check it."""
    result = judged(_result(subject, seen, fields), checks.CHECKS)
    if result.verdict != "healthy":
        return result
    rate = (found for check in checks.RATE_CHECKS for found in check(result))
    return replace(result, findings=(*result.findings, *rate))


def _for_optimizer(batch: BatchFacts | None, used: RateInUse | None) -> BatchFacts | None:
    """Return the facts with the first update of the optimizer in use; a module's are for SGD."""
    if batch is None or used is None or used.optimizer is None:
        return batch
    known = OPTIMIZERS.get(used.optimizer.lower())
    return with_optimizer(batch, known.__name__ if known else used.optimizer, used.rate)


def _result(subject: Subject, seen: Pass, fields: list[dict[str, Any]]) -> DiagnosisResult:
    """The rows, and the rate over the hidden layers."""
    rows = layer_rows(seen, fields)
    hidden = max(seen.measurement.layers - 1, 0)
    names = seen.measurement.names[:hidden]
    deltas = in_chain([f["delta_log10_rms"] for f in fields[:hidden]], seen.measurement.calls)
    rates = fit_rates(deltas, names)
    whole = whole_deltas(deltas, seen.measurement)
    if rates is None and seen.after_step is not None:  # δ is 0 behind a weight that starts at 0
        after = pass_fields(replace(seen, measurement=seen.after_step), subject.lr)
        behind = min(zero_layers(seen.measurement), default=hidden + 1) - 1
        deltas = [f["delta_log10_rms"] for f in after[: min(behind, hidden)]]
        rates = fit_rates(deltas, names[: len(deltas)])
    rate, low, high = interval(rates)
    span = rate_span(deltas, names[: len(deltas)])
    recurrent = recurrences(seen.measurement)
    return DiagnosisResult(
        records=rows,
        meta=_meta(subject, seen),
        hidden=hidden,
        rate=rate,
        rate_low=low,
        rate_high=high,
        predicted_rate=None if seen.prediction is None else seen.prediction.rate(names),
        loss=seen.loss,
        suggested_loss_scale=None if seen.underflow is None else seen.underflow.loss_scale,
        facts=replace(
            seen.facts,
            batch=_for_optimizer(seen.facts.batch, subject.in_use),
            span=span,
            whole_rate=None if whole is None else interval(fit_rates(whole, names))[0],
            small_gains=small_gains(rows, seen.measurement),
            examples=seen.examples,
            zero_layers=zero_layers(seen.measurement),
            recurrences=recurrent,
            optimizer=subject.optimizer,
            rate=subject.in_use,
            sizes=None if subject.in_use is None or seen.sizes is None else seen.sizes(),
            given_scale=1.0 if seen.averaged or not seen.as_given else float(seen.examples),
        ),
        step_rate=step_rate(recurrent),
        time_steps=step_rows(recurrent),
        **seen.known,
    )


def _meta(subject: Subject, seen: Pass) -> RunMeta:
    loss = seen.measurement.loss
    return RunMeta(
        torch=torch.__version__,
        device=str(loss.device),
        dtype=subject.dtype or str(loss.dtype).removeprefix("torch."),
        seeds=subject.seeds,
        threads=torch.get_num_threads(),
        config=subject.options,
    )
