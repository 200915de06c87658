"""For every code of every check a result, made by hand, on which the check gives it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from gradflow.benchmarking.rows import summarize
from gradflow.results.base import Facts, Result, RunMeta
from gradflow.results.benchmark import BenchmarkFacts, BenchmarkResult, PlanResult
from gradflow.results.chain import ChainResult, FactorRow
from gradflow.results.clipping import ClipResult, DistributionRow, PolicyRow, TimeStepRow
from gradflow.results.diagnosis import (
    DiagnosisFacts,
    DiagnosisResult,
    LayerRow,
    RateInUse,
    Recurrence,
)
from gradflow.results.facts import (
    ActivationFacts,
    BatchFacts,
    CriterionFacts,
    LeafFacts,
    MixingFacts,
    RefusedFacts,
    TensorFacts,
    UpdateFacts,
)
from gradflow.results.learning_rate import LearningRateResult, RateRow
from gradflow.results.sweep import SweepFacts, SweepResult
from gradflow.results.watching import (
    ConflictFacts,
    OptimizerFacts,
    SpreadFacts,
    WatchFacts,
    WatchHistoryRow,
    WatchResult,
    WatchRow,
    WatchStepRow,
)
from gradflow.results.width import WidthFacts, WidthResult, WidthRow
from support.benchmark_runs import flow_row, history_row

Shape = tuple[int, ...]


def layer(index: int = 1, **given: Any) -> LayerRow:
    """Return a layer of which nothing is known but what is given."""
    unknown = dict.fromkeys(LayerRow.columns()) | {"index": index, "name": "linear"}
    return LayerRow(**(unknown | {"kind": "Linear"} | given))


def diagnosed(rate: float | None = None, row: dict[str, Any] | None = None, **given: Any) -> Result:
    """Return a diagnosis of four hidden layers, all alike, and the output."""
    rows = [layer(i, delta_log10_rms=float(i), **(row or {})) for i in range(1, 6)]
    return DiagnosisResult(records=tuple(rows), hidden=4, rate=rate, **given)


def network(*rows: dict[str, Any], **given: Any) -> DiagnosisResult:
    """Return a diagnosis of these layers, the last of which is the output; facts by their names.

    `used` is the learning rate in use, since the result has a rate of its own.
    """
    records = tuple(layer(i, **{"name": f"l{i}"} | row) for i, row in enumerate(rows, start=1))
    of_facts = {f.name for f in fields(DiagnosisFacts)} - {"rate"}
    known = {name: given.pop(name) for name in list(given) if name in of_facts}
    facts = DiagnosisFacts(rate=given.pop("used", None), **known)
    return DiagnosisResult(records=records, facts=facts, **{"hidden": len(rows) - 1} | given)


def facts(**given: Any) -> Result:
    """Return a diagnosis with these facts."""
    return diagnosed(facts=DiagnosisFacts(**given))


def batch(criterion: dict[str, Any] | None = None, **given: Any) -> Result:
    """Return a diagnosis of a batch of 32, of whose loss this is known."""
    if criterion is not None:
        given["criteria"] = (CriterionFacts(**criterion),)
    return facts(batch=BatchFacts(examples=32, loss=1.0, **given))


def together(lost: float, alike: float) -> Result:
    """Return a diagnosis in which δ loses so many decades, and the difference between scores."""
    output = TensorFacts((32, 10), rms=1.0, example_spread=10 ** (-2 * alike))
    seen = BatchFacts(criteria=(CriterionFacts("cross-entropy", output=output),))
    return diagnosed(rate=10 ** (-lost / 4), facts=DiagnosisFacts(batch=seen))


_SIGMOID = (ActivationFacts("sigmoid"),)


def watched(rate: float | None = None, norms: tuple[float, float] = (1, 1), **given: Any) -> Result:
    """Return a watched step of a network of five layers."""
    before, after = norms
    unknown = dict.fromkeys(WatchStepRow.columns())
    step = unknown | {"step": 1, "norm_before": before, "norm_after": after}
    row = dict.fromkeys(WatchRow.columns()) | {"name": "linear", "dead_fraction": 0.95}
    records = tuple(WatchRow(**(row | {"index": i})) for i in range(1, 6))
    steps = (WatchStepRow(**(step | {"clipped": before != after})),)
    return WatchResult(**{"records": records, "steps": steps, "rate": rate} | given)


def with_losses(losses: list[float], **given: Any) -> Result:
    """Return a watched run with these losses, at a learning rate of 0.1."""
    steps = tuple(WatchStepRow(i + 1, 1.0, 1.0, False, loss, 0.1) for i, loss in enumerate(losses))
    return watched(**{"steps": steps, "seen": len(steps)} | given)


def attending(flat: float, *losses: tuple[float | None, float | None]) -> Result:
    """Return a watched step of a layer that attention is computed of.

    Parameters
    ----------
    flat
        Share of the queries that see one key alone.
    losses
        Of each criterion the first value, and a constant prediction's; one of an untrained network
        where none are given.
    """
    known = losses or ((1.1, 1.1),)
    criteria = tuple(CriterionFacts("mse", first_loss=a, constant_loss=b) for a, b in known)
    row = _watched_layer(attention_saturated=flat, attention_entropy=0.01)
    return watched(records=(row,), facts=WatchFacts(batch=BatchFacts(criteria=criteria)))


def _penalised(loss: float) -> BatchFacts:
    judged = CriterionFacts("cross-entropy", first_loss=loss, constant_loss=1.1)
    return BatchFacts(examples=32, criteria=(judged,), penalised=1.0)


def _refused(
    kind: str, output: Shape, target: Shape, labels: tuple[int, int] | None, why: str = "no"
) -> Result:
    return watched(facts=WatchFacts(refused=RefusedFacts(kind, output, target, labels, why)))


def _recurrence(rate: float) -> Recurrence:
    """Return a recurrent layer over 30 steps, whose candidate is saturated."""
    return Recurrence("lstm", (1,), (0.0,) * 30, rate, (("candidate", 0.9),))


def _watched_layer(**given: Any) -> WatchRow:
    """Return the only layer of a watched model."""
    unknown = dict.fromkeys(WatchRow.columns()) | {"index": 1, "name": "linear"}
    return WatchRow(**(unknown | given))


def _history(**given: Any) -> WatchHistoryRow:
    """Return the first layer at the first step."""
    unknown = dict.fromkeys(WatchHistoryRow.columns())
    return WatchHistoryRow(**(unknown | {"step": 1, "index": 1} | given))


def trained(**accuracies: float) -> Result:
    """Return a benchmark of one epoch with one seed."""
    history = tuple(history_row(name, test_accuracy=a) for name, a in accuracies.items())
    return BenchmarkResult(records=summarize(history, 10, 10).rows, history=history)


def policy(**given: Any) -> PolicyRow:
    """Return what a policy does to a gradient of norm 1."""
    row: dict[str, Any] = {"policy": "norm", "threshold": 0.5, "norm_before": 1.0}
    row |= {"norm_after": 0.5, "cosine": 1.0, "clipped_fraction": 0.0}
    return PolicyRow(**(row | given))


def clipped(row: PolicyRow | None = None, **given: Any) -> Result:
    """Return a comparison of one policy."""
    return ClipResult(records=(policy() if row is None else row,), **given)


def chained(*factors: float) -> Result:
    """Return a chain of these factors, of which only the product is computed."""
    log10 = sum(math.log10(abs(f)) if f else -math.inf for f in factors)
    rows = tuple(FactorRow(i, f"f{i}", f, math.nan) for i, f in enumerate(factors, start=1))
    return ChainResult(records=rows, gradient=math.prod(factors), gradient_log10=log10)


_NONE = -math.inf
_BEYOND = TensorFacts((32,), low=0.0, high=3.0, values=4)
_STEPS = tuple(TimeStepRow(step, log) for step, log in enumerate((-9.0, -5.0, 0.0), start=1))
_SOFTMAX = MixingFacts("Softmax", 0, (32, 10, 1))
_MEAN = MixingFacts("Mean", 0, (32, 32, 8), sure=False)
_PERHAPS_MIXED = BatchFacts(criteria=(CriterionFacts("cross-entropy", mixing=_MEAN),))
_SPREAD = DistributionRow(10, 1.0, 1.0, 2.0, 3.0, 3.0)

#: By the room and the check, then by code.
EXAMPLES: dict[str, dict[str, Callable[[], Result]]] = {
    "diagnosis.broken": {"broken": lambda: diagnosed(row={"forward_nonfinite": 1})},
    "findings.inputs": {
        "inputs": lambda: batch(inputs=(TensorFacts((32, 3), constant_share=1.0),))
    },
    "findings.targets": {
        "targets": lambda: batch({"kind": "bce", "out_of_reach": 0.5, "target": _BEYOND})
    },
    "findings.cut_off": {"unreached": lambda: batch(cut_off=True)},
    "findings.output_activation": {
        "output-activation": lambda: batch({"kind": "cross-entropy", "activations": _SIGMOID})
    },
    "findings.shapes": {
        "shapes": lambda: batch({"kind": "mse", "heard": True, "expanded": ((32, 1), (32, 32))})
    },
    "findings.unregistered": {"unregistered": lambda: batch(unregistered=(LeafFacts((3, 4), 12),))},
    "findings.symmetric": {"symmetric": lambda: batch(symmetric=("hidden",))},
    "findings.mixed": {"mixed": lambda: batch({"kind": "cross-entropy", "mixing": _SOFTMAX})},
    "findings.dropout": {"dropout": lambda: batch(dropout=(0.97, 3))},
    "findings.loss": {"loss": lambda: batch({"kind": "cross-entropy", "sign": -1})},
    "findings.initial_loss": {
        "initial-loss": lambda: batch(
            {"kind": "cross-entropy", "first_loss": 90.0, "constant_loss": 2.3}
        )
    },
    "findings.summed": {
        "step-size": lambda: batch(
            {"kind": "mse", "summed": True}, update=UpdateFacts(None, 0.1, 3.0, "weight")
        )
    },
    "findings.linear": {"linear": lambda: batch(all_linear=True)},
    "diagnosis.dead": {"dead": lambda: diagnosed(row={"dead_fraction": 1.0})},
    "diagnosis.vanishing": {
        "vanishing": lambda: diagnosed(rate=0.1),
        "saturated": lambda: diagnosed(rate=0.1, row={"saturated_fraction": 0.8}),
    },
    "diagnosis.lost_together": {
        "vanishing": lambda: together(2.0, 1.5),
        "collapse": lambda: together(1.5, 1.8),
    },
    "diagnosis.first_loss": {"initial-loss": lambda: facts(batch=BatchFacts(loss=1e30))},
    "diagnosis.exploding": {"exploding": lambda: diagnosed(rate=10.0)},
    "diagnosis.no_gradient": {"no-gradient": lambda: diagnosed(row={"gradient_log10_norm": _NONE})},
    "diagnosis.saturated_output": {
        "saturated": lambda: diagnosed(
            row={"saturated_fraction": 1.0}, facts=DiagnosisFacts(example_loss=1e9)
        )
    },
    "diagnosis.far_rate": {
        "step-size": lambda: diagnosed(
            row={"gradient_norm": 1.0},
            facts=DiagnosisFacts(rate=RateInUse(100.0, "Adam"), sizes=(1.0, 100)),
        )
    },
    "diagnosis.weak_head": {
        "vanishing": lambda: DiagnosisResult(
            records=(layer(1, delta_log10_rms=-9.0), layer(2, delta_log10_rms=0.0)), hidden=1
        )
    },
    "diagnosis.unjudged": {"unjudged": lambda: DiagnosisResult(records=(layer(1), layer(2)))},
    "diagnosis.one_example": {"batch": lambda: facts(examples=1)},
    "diagnosis.collapsing": {"collapse": lambda: diagnosed(row={"example_spread": 1e-8})},
    "diagnosis.same_outputs": {
        "collapse": lambda: batch(
            {"kind": "cross-entropy", "output": TensorFacts(rms=1.0, example_spread=1e-13)}
        )
    },
    "diagnosis.self_normalising": {"self-normalising": lambda: diagnosed(activation="selu")},
    "diagnosis.bounded": {"bound": lambda: diagnosed(rate=0.9, rate_bound=0.95)},
    "diagnosis.underflow": {"underflow": lambda: diagnosed(row={"underflow_fraction": 0.5})},
    "diagnosis.compiled": {"compiled": lambda: facts(compiled=True)},
    "diagnosis.lazy": {"lazy": lambda: facts(lazy=True)},
    "diagnosis.unreached": {"unreached": lambda: facts(unreached=(1, 2))},
    "diagnosis.shared": {"shared": lambda: facts(shared=((1, 3),))},
    "diagnosis.repeated": {"shared": lambda: facts(repeated=((1, 3),))},
    "diagnosis.uncovered": {"uncovered": lambda: facts(uncovered=("layer4",), uncovered_share=0.5)},
    "diagnosis.widened": {"precision": lambda: facts(widened=(2,))},
    "diagnosis.not_widened": {"no-copy": lambda: facts(not_widened=(2,), no_float64="why")},
    "diagnosis.not_compared": {"no-copy": lambda: facts(no_float32="why")},
    "diagnosis.near_threshold": {"near-threshold": lambda: diagnosed(rate=0.17)},
    "diagnosis.noisy": {
        "one-seed": lambda: diagnosed(meta=RunMeta(seeds=(0,)), facts=DiagnosisFacts(width=2))
    },
    "watching.broken": {"broken": lambda: watched(norms=(math.inf, math.inf))},
    "watching.dead": {"dead": watched},
    "watching.flow": {
        "vanishing": lambda: watched(rate=0.1),
        "exploding": lambda: watched(rate=10.0),
    },
    "watching.attention": {"saturated": lambda: attending(1.0)},
    "diagnosis.attention": {
        "saturated": lambda: diagnosed(row={"attention_saturated": 0.95, "attention_entropy": 0.01})
    },
    "diagnosis.same_tokens": {
        "collapse": lambda: diagnosed(row={"token_spread": 1e-9, "attention_entropy": 0.9})
    },
    "diagnosis.time_steps": {
        "vanishing": lambda: facts(recurrences=(_recurrence(0.5),)),
        "exploding": lambda: facts(recurrences=(_recurrence(2.0),)),
    },
    "diagnosis.gates": {"saturated": lambda: facts(recurrences=(_recurrence(1.0),))},
    "watching.no_gradient": {
        "no-gradient": lambda: watched(
            records=(_watched_layer(gradient_log10_norm=_NONE),),
            history=(_history(gradient_log10_norm=_NONE),),
        )
    },
    "watching.unreached": {"unreached": lambda: watched(history=(_history(),))},
    "watching.unjudged": {
        "unjudged": lambda: watched(history=(_history(gradient_log10_norm=0.0),))
    },
    "watching.unrecorded": {"unrecorded": lambda: watched(steps=())},
    "watching.clipping": {"clipping": lambda: watched(norms=(3, 1), clip_rate=0.8)},
    "watching.scaled": {"scaled": lambda: watched(norms=(2.0**16, 1))},
    "watching.skipped": {"skipped": lambda: watched(skipped=2)},
    "watching.evaluation_mode": {
        "evaluation-mode": lambda: watched(facts=WatchFacts(evaluating=True))
    },
    "watching.uncovered": {"uncovered": lambda: watched(facts=WatchFacts(transformed=True))},
    "watching.compiled": {"compiled": lambda: watched(facts=WatchFacts(compiled=True))},
    "script.interrupted": {"interrupted": lambda: watched(facts=WatchFacts(interrupted=True))},
    "watching.diverged": {"diverged": lambda: with_losses([1.0 * 2**i for i in range(10)])},
    "watching.growing": {
        "exploding": lambda: watched(
            steps=tuple(
                WatchStepRow(i + 1, 10 ** (i / 10), 1.0, True, 0.7, 0.1) for i in range(60)
            ),
            seen=60,
        )
    },
    "watching.stale_gradients": {"stale-gradients": lambda: watched(facts=WatchFacts(stale=0.9))},
    "watching.not_updated": {"not-updated": lambda: watched(facts=WatchFacts(unchanged=(2, 3)))},
    "watching.stuck": {"stuck": lambda: with_losses([0.7 + 0.01 * (i % 2) for i in range(60)])},
    "watching.collapse": {
        "collapse": lambda: with_losses(
            [0.7] * 10, facts=WatchFacts(spread=SpreadFacts(0.5, 1e-6, 0.1))
        )
    },
    "watching.step_size": {
        "step-size": lambda: with_losses(
            [1.0] * 10, history=tuple(_history(step=i, update_ratio=0.5) for i in range(1, 11))
        )
    },
    "watching.weight_decay": {
        "weight-decay": lambda: with_losses(
            [1.0] * 10,
            facts=WatchFacts(shrunk=(0.01,), optimizer=OptimizerFacts("SGD", weight_decay=5.0)),
        )
    },
    "watching.penalty": {
        "weight-decay": lambda: watched(
            facts=WatchFacts(shrunk=(0.01,), batch=_penalised(1.2), last_batch=_penalised(1.1))
        )
    },
    "watching.refused": {
        "targets": lambda: _refused("cross-entropy", (8, 3), (8,), (1, 3)),
        "shapes": lambda: _refused("bce", (8, 1), (8,), None),
        "output-activation": lambda: _refused(
            "bce", (8,), (8,), None, "all elements of input should be between 0 and 1"
        ),
    },
    "watching.conflicting_targets": {
        "targets": lambda: watched(facts=WatchFacts(conflicts=ConflictFacts(90, 0.52, 0.5)))
    },
    "watching.perhaps_mixed": {
        "mixed": lambda: with_losses(
            [0.7 + 0.01 * (i % 2) for i in range(60)], facts=WatchFacts(batch=_PERHAPS_MIXED)
        )
    },
    "watching.unfinished": {
        "unfinished": lambda: with_losses([1.0 - 0.002 * i for i in range(100)])
    },
    "watching.spike": {"spike": lambda: with_losses([1.0] * 20 + [30.0] + [1.0] * 20)},
    "clipping.interrupted": {"interrupted": lambda: clipped(facts=Facts(interrupted=True))},
    "clipping.diverged": {"diverged": lambda: clipped(policy(diverged=True))},
    "clipping.overclipped": {"overclipped": lambda: clipped(policy(engaged_fraction=0.9))},
    "clipping.vanishing": {"vanishing": lambda: clipped(flow=_STEPS)},
    "clipping.turned": {"turned": lambda: clipped(policy(cosine=0.5))},
    "clipping.idle": {"idle": clipped},
    "clipping.suggested": {
        "suggested": lambda: clipped(policy(final_loss=0.1), distribution=(_SPREAD,))
    },
    "benchmarking.failed": {
        "unjudged": lambda: BenchmarkResult(
            facts=BenchmarkFacts(failed=(("relu, seed 1", "its process ended"),))
        )
    },
    "benchmarking.interrupted": {
        "interrupted": lambda: BenchmarkResult(facts=BenchmarkFacts(interrupted=True))
    },
    "benchmarking.diverged": {
        "diverged": lambda: BenchmarkResult(history=(history_row(train_loss=math.nan),))
    },
    "benchmarking.behind": {"below-expected": lambda: trained(relu=0.9, sigmoid=0.5)},
    "benchmarking.unresponsive": {
        "dead": lambda: BenchmarkResult(flow=(flow_row(dead_fraction=0.8),)),
        "saturated": lambda: BenchmarkResult(flow=(flow_row(saturated_fraction=0.95),)),
    },
    "benchmarking.test_set": {"test-set": lambda: trained(relu=0.9)},
    "benchmarking.one_seed": {"one-seed": lambda: trained(relu=0.9, elu=0.9)},
    "benchmarking.unmeasured": {"interrupted": lambda: PlanResult(facts=Facts(interrupted=True))},
    "functions.dead": {"dead": lambda: chained(0.0, 1.0)},
    "functions.underflow": {"underflow": lambda: chained(1e-200, 1e-200)},
    "learning_rates.unstable": {
        "diverged": lambda: LearningRateResult(records=(RateRow(1, 1e-3, math.inf),))
    },
    "sweeps.interrupted": {"interrupted": lambda: SweepResult(facts=SweepFacts(interrupted=True))},
    "sweeps.failed": {
        "unjudged": lambda: SweepResult(facts=SweepFacts(failed=(("depth 5", "it died"),)))
    },
    "widths.interrupted": {"interrupted": lambda: WidthResult(facts=WidthFacts(interrupted=True))},
    "widths.not_finite": {"broken": lambda: WidthResult(facts=WidthFacts(not_finite=(512,)))},
    "widths.depends": {
        "width": lambda: WidthResult(
            records=(WidthRow(1, "hidden", "Linear", "hidden", slope=0.9, judged="fail"),)
        )
    },
    "widths.failed": {"unjudged": WidthResult},
    "widths.partial": {"uncovered": lambda: WidthResult(facts=WidthFacts(partial=("head",)))},
    "widths.one_seed": {"one-seed": lambda: WidthResult(meta=RunMeta(seeds=(0,)))},
    "learning_rates.vanishing": {"vanishing": lambda: LearningRateResult(lost_decades=8.0)},
    "learning_rates.far_off": {"step-size": lambda: LearningRateResult(suggested=1e-3, in_use=1.0)},
}
