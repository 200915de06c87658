"""Checks of a batch's output and loss. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from gradflow.findings.batches import (
    DISTANCES,
    OF_CLASSES,
    OF_SIGNS,
    OF_TWO,
    in_words,
    lost_at,
    of_batch,
    sized,
)
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import (
    FAR_TARGETS,
    FIRST_LOSS,
    FIRST_LOSS_MORE,
    HOPELESS_LOSS,
    HOPELESS_TARGETS,
    OFF_THE_SPHERE,
    ONE_CLASS,
    OUT_OF_REACH,
    UNREACHABLE,
)
from gradflow.results.base import Finding, Result
from gradflow.results.facts import ActivationFacts, BatchFacts, CriterionFacts, TensorFacts

#: Activations that bound what they give, by how far apart two outputs can be.
_SPAN = {"softmax": 1.0, "sigmoid": 1.0, "hardsigmoid": 1.0, "tanh": 2.0}
#: Activations whose slope is exactly 0 on one side.
_CUT = frozenset({"ReLU"})


@check("output-activation")
def output_activation(result: Result) -> Iterator[Finding]:
    """An activation after the last layer that the loss does not go with, or that is missing."""
    facts = of_batch(result)
    for criterion in facts.criteria:
        found = _one_unit(criterion) or _wrong_axis(criterion, facts) or _wrong(criterion)
        if found is not None:
            yield found
            return


def _one_unit(criterion: CriterionFacts) -> Finding | None:
    """A softmax over a single unit is 1 whatever comes in."""
    soft = [a for a in criterion.activations if a.kind in ("softmax", "log-softmax")]
    alone = next((a for a in soft if a.size == 1), None)
    if alone is not None:
        given = "1" if alone.kind == "softmax" else "0"
        return finding(
            "output-activation",
            f"the {alone.kind} after the last layer is over one unit, shape {sized(alone.shape)}: "
            f"it gives {given} for every example, and every gradient behind it is exactly 0",
            "a sigmoid on that unit (none, with BCEWithLogitsLoss), or two units and cross-entropy",
            severity="error",
        )
    if criterion.kind in OF_CLASSES and criterion.classes == 1:
        return finding(
            "output-activation",
            f"{in_words(criterion.kind)} is over one class: it is 0 for every example, and so is "
            "every gradient",
            "one unit with BCEWithLogitsLoss, or as many units as there are classes",
            severity="error",
        )
    return None


def _wrong_axis(criterion: CriterionFacts, facts: BatchFacts) -> Finding | None:
    """A softmax over the batch makes the examples compete, not the classes."""
    last = criterion.last
    if last is None or last.kind not in ("softmax", "log-softmax") or last.dim != 0:
        return None
    examples = last.shape[0] if last.shape else 0
    pairs = len(last.shape) == 2 and last.shape[1] == examples  # similarities, either way round
    if examples < 2 or examples != facts.examples or pairs:
        return None
    return finding(
        "output-activation",
        f"the {last.kind} after the last layer is over dimension 0, the {examples} examples of the "
        f"batch, of shape {sized(last.shape)}: what an example gets depends on the others",
        f"{last.kind} over the classes: dim=1" if len(last.shape) > 1 else "a sigmoid",
        severity="error" if len(last.shape) == 2 else "warning",
    )


def _wrong(criterion: CriterionFacts) -> Finding | None:
    """What is wrong between the last layer and its criterion."""
    judge = _JUDGES.get(criterion.kind)
    return None if judge is None else judge(criterion)


def _before_cross_entropy(criterion: CriterionFacts) -> Finding | None:
    last, classes = criterion.last, criterion.classes or 2
    undone = criterion.logs and last is not None and last.kind == "softmax"
    if last is None or undone or criterion.scaled or last.kind not in (*_SPAN, *_CUT):
        return None
    if last.kind in _CUT:
        return finding(
            "output-activation",
            f"a {last.kind} cuts the class scores before cross-entropy: "
            f"{_stuck(last)} are 0 and pass no gradient on",
            f"no {last.kind} after the last layer: cross-entropy takes scores of either sign",
        )
    least = math.log1p((classes - 1) * math.exp(-_SPAN[last.kind]))
    return finding(
        "output-activation",
        f"a {last.kind} comes before cross-entropy, which applies its own softmax: the scores are "
        f"at most {_SPAN[last.kind]:.0f} apart, so that the loss of {classes} classes cannot fall "
        f"below {least:.2f}",
        f"no {last.kind}: cross-entropy takes the last layer's plain scores",
    )


def _stuck(activation: ActivationFacts) -> str:
    share = activation.stuck_share
    return "those below 0" if share is None else f"{share:.0%} of them"


def _before_logits(criterion: CriterionFacts) -> Finding | None:
    last = criterion.last
    bad = ("sigmoid", "hardsigmoid", "softmax", "log-softmax", "log-sigmoid", "ReLU", "tanh")
    if last is None or criterion.scaled or last.kind not in bad:
        return None
    low, high = (-1, 1) if last.kind == "tanh" else (0, 1)
    said = {
        "ReLU": "probabilities below 0.5 cannot be had, and where it is 0 no gradient passes",
        "log-softmax": "probabilities above 0.5 cannot be had",
        "log-sigmoid": "probabilities above 0.5 cannot be had",
    }.get(
        last.kind,
        f"probabilities stay between {_logistic(low):.2f} and {_logistic(high):.2f}",
    )
    return finding(
        "output-activation",
        f"a {last.kind} comes before binary cross-entropy with logits, which applies its own "
        f"sigmoid: {said}",
        f"no {last.kind} after the last layer"
        + ("; or BCELoss after the sigmoid" if last.kind == "sigmoid" else ""),
    )


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _before_nll(criterion: CriterionFacts) -> Finding | None:
    """The NLL loss wants logarithms of probabilities that sum to 1."""
    off, last, output = criterion.normalisation, criterion.last, criterion.output
    if off is None or off < 0.1 or criterion.logs:
        return None
    what = "plain scores" if last is None else f"a {last.kind}'s outputs"
    positive = output is not None and (output.high or 0.0) > 0
    if last is None and not (positive and criterion.layer_units and not criterion.chosen):
        return None
    return finding(
        "output-activation",
        f"the NLL loss gets {what} where log-probabilities belong: their exponentials sum to "
        f"e^{off:.2g}, not 1"
        + (", and the loss falls without bound as they grow" if last is None else ""),
        "log_softmax(scores, dim=1) before the NLL loss, or cross-entropy on the scores",
        severity="error" if last is None else "warning",
    )


def _before_bce(criterion: CriterionFacts) -> Finding | None:
    """Binary cross-entropy wants probabilities."""
    inner = [a for a in criterion.activations if a.kind not in ("clamp", "hardtanh")]
    if inner and inner[0].kind == "softmax" and _not_shares(criterion):
        return finding(
            "output-activation",
            f"a softmax over {inner[0].size} units makes the probabilities of an example sum to "
            f"1, and its targets sum to {criterion.row_sum:.3g} on average",
            "a sigmoid after the last layer, where several labels are right at once",
        )
    if inner and inner[0].kind not in ("ReLU", "tanh"):
        return None
    if not criterion.layer_units and not inner:
        return None
    cut = criterion.activations[0] if criterion.activations else None
    what = f"a {inner[0].kind}'s outputs" if inner else "plain scores"
    lost = ""
    if cut is not None and cut.stuck_share is not None:
        lost = f", cut to {cut.low or 0:.3g} … {1 if cut.high is None else cut.high:.3g}" * (
            cut.kind != "ReLU"
        )
        lost += f": {cut.stuck_share:.0%} of them lie where the slope is 0, without a gradient"
    return finding(
        "output-activation",
        f"binary cross-entropy gets {what} where probabilities belong{lost}",
        "a sigmoid after the last layer, or BCEWithLogitsLoss on its plain scores",
    )


def _before_kl(criterion: CriterionFacts) -> Finding | None:
    last = criterion.last
    if criterion.logs or criterion.chosen or criterion.scaled:
        return None
    probabilities = last is not None and last.kind in ("softmax", "sigmoid")
    raw = last is None and criterion.layer_units is not None and criterion.heard
    if not (probabilities or raw):
        return None
    what = "plain scores" if last is None else f"a {last.kind}'s probabilities"
    return finding(
        "output-activation",
        f"the KL divergence gets {what} where log-probabilities belong",
        "log_softmax(scores, dim=1) as its input, probabilities as its target",
    )


def _before_distance(criterion: CriterionFacts) -> Finding | None:
    """An output that cannot reach its targets."""
    nearest = criterion.activations[0] if criterion.activations else None
    target = criterion.target
    if criterion.unit_length and target is not None:
        return _on_the_sphere(criterion, target)
    if nearest is None or target is None or criterion.scaled or criterion.logs:
        return None
    if nearest.kind == "softmax" and _not_shares(criterion):
        return finding(
            "output-activation",
            f"a softmax over {nearest.size} units makes the outputs of an example sum to 1, and "
            f"its targets sum to {criterion.row_sum:.3g} on average",
            "no activation after the last layer",
        )
    if (criterion.out_of_reach or 0.0) >= OUT_OF_REACH and not labels_two(target):
        return _out_of_reach(criterion, nearest, target)
    if nearest.kind == "ReLU" and labels_two(target):
        return finding(
            "output-activation",
            f"a ReLU gives what {in_words(criterion.kind)} holds against labels 0 and 1: "
            f"{_stuck(nearest)} are 0 and pass no gradient on",
            "a sigmoid after the last layer with binary cross-entropy, or no activation",
        )
    return None


def _on_the_sphere(criterion: CriterionFacts, target: TensorFacts) -> Finding | None:
    """Outputs of length 1 whose targets are of other lengths."""
    outside, left = criterion.out_of_reach or 0.0, criterion.unreachable or 0.0
    if outside < OFF_THE_SPHERE or left < OUT_OF_REACH:
        return None
    return finding(
        "output-activation",
        f"every output is a vector of length 1, and {outside:.0%} of the targets (root mean square "
        f"{target.rms:.3g} an entry) are of another length: the nearest that outputs can come "
        f"leaves {left:.0%} of their variance",
        "no normalisation after the last layer, or targets of length 1 as well",
    )


def _before_poisson(criterion: CriterionFacts) -> Finding | None:
    """A rate where the loss takes its logarithm, and applies exp itself."""
    last = criterion.last
    if not criterion.log_input or last is None or last.kind not in _RATES or criterion.scaled:
        return _before_distance(criterion)
    if criterion.logs:
        return None
    least = "e^(e^x)" if last.kind == "exp" else "never below 1"
    return finding(
        "output-activation",
        f"the Poisson loss takes the logarithm of a rate and applies exp to it, and it gets the "
        f"outputs of {_RATES[last.kind]}: the rate is {least}",
        "PoissonNLLLoss(log_input=False), or the last layer's plain numbers",
    )


#: Activations that give a rate, in words.
_RATES = {"exp": "an exp", "softplus": "a softplus", "ReLU": "a ReLU"}


#: What a criterion wants to be given, by its kind.
_JUDGES: dict[str, Callable[[CriterionFacts], Finding | None]] = {
    "cross-entropy": _before_cross_entropy,
    "bce-with-logits": _before_logits,
    "nll": _before_nll,
    "bce": _before_bce,
    "kl": _before_kl,
    "poisson": _before_poisson,
    **dict.fromkeys(DISTANCES, _before_distance),
}


def _not_shares(criterion: CriterionFacts) -> bool:
    """Whether a softmax's targets sum to something else than 1."""
    total = criterion.row_sum
    return total is not None and abs(total - 1) > 0.1


def labels_two(target: TensorFacts) -> bool:
    """Return whether targets are two whole numbers one or two apart, as labels are."""
    if target.values != 2 or target.low is None or target.high is None:
        return False
    return target.low in (-1.0, 0.0) and target.high == 1.0


def _out_of_reach(
    criterion: CriterionFacts, nearest: ActivationFacts, target: TensorFacts
) -> Finding:
    left = criterion.unreachable or 0.0
    return finding(
        "output-activation",
        f"{criterion.out_of_reach:.0%} of the targets, which go from {target.low:.3g} to "
        f"{target.high:.3g}, are out of reach of the {nearest.kind} after the last layer: the "
        f"nearest that it can give leaves {left:.0%} of their variance",
        "no activation after the last layer of a regression, or targets scaled into its range",
        severity="error" if left >= UNREACHABLE else "warning",
    )


@check("shapes")
def shapes(result: Result) -> Iterator[Finding]:
    """A loss that broadcasts the output, and one score per position where one per class belongs."""
    for criterion in of_batch(result).criteria:
        found = (
            _broadcasts(criterion)
            or _repeats(criterion)
            or _score_per_place(criterion)
            or _scrambled(criterion)
        )
        if found is not None:
            yield found
            return


def _broadcasts(criterion: CriterionFacts) -> Finding | None:
    if criterion.expanded is None:
        return None
    was, now = criterion.expanded
    several = math.prod(was) > 1 and math.prod(now) > math.prod(was)
    pairs = len(now) == 2 and now[0] == now[1]
    if not several or not (criterion.heard or pairs):
        return None
    target = f" against targets {sized(criterion.target.shape)}" if criterion.target else ""
    return finding(
        "shapes",
        f"{in_words(criterion.kind)} broadcasts outputs {sized(was)}{target} to {sized(now)}: "
        "every output is held against the targets of other examples, and the best is their mean",
        "the same shape for both: output.squeeze(1), or target.unsqueeze(1)",
        severity="error" if criterion.heard else "warning",
    )


def _repeats(criterion: CriterionFacts) -> Finding | None:
    """One target for several outputs of an example: they all learn the same."""
    output, target = criterion.output, criterion.target
    if criterion.kind not in DISTANCES or not criterion.heard or not output or not target:
        return None
    several = math.prod(target.shape) > 1 and math.prod(output.shape) > math.prod(target.shape)
    if not several or output.examples != target.examples or criterion.expanded is not None:
        return None
    return finding(
        "shapes",
        f"{in_words(criterion.kind)} broadcasts targets {sized(target.shape)} to outputs "
        f"{sized(output.shape)}: all outputs of an example are held against one number",
        "as many units in the last layer as there are targets",
    )


def _score_per_place(criterion: CriterionFacts) -> Finding | None:
    """Class scores that are one number of several places each, with some of the places dropped."""
    classes = criterion.classes or 0
    one = criterion.layer_units == 1 and classes > 1
    if criterion.kind not in OF_CLASSES or not one or not criterion.chosen:
        return None
    return finding(
        "shapes",
        f"the last layer has one unit, and the scores of {classes} classes are its outputs at "
        f"{classes} places of the input: a class is judged by one place alone",
        f"flatten (or pool) the places first, then a last layer of {classes} units",
    )


def _scrambled(criterion: CriterionFacts) -> Finding | None:
    """Scores of classes seen in another shape without moving the axis of the classes."""
    if criterion.scrambled is None:
        return None
    was, now = criterion.scrambled
    if len(now) > 2:
        return finding(
            "shapes",
            f"scores of shape {sized(was)}, whose {was[2]} classes come last, are seen as "
            f"{sized(now)}: the numbers keep their order, so a place then holds scores of others",
            "scores.transpose(1, 2), which moves the classes",
        )
    return finding(
        "shapes",
        f"scores of shape {sized(was)}, whose {was[1]} classes come second, are seen as rows of "
        f"shape {sized(now)}: a row then holds the scores of one class at {now[1]} places, not "
        "those of all classes at one place",
        "scores.movedim(1, -1).reshape(-1, classes); or cross-entropy on the scores as they are, "
        "with targets of shape (N, …)",
    )


@check("loss")
def loss(result: Result) -> Iterator[Finding]:
    """A loss of the wrong sign or kind."""
    criteria = of_batch(result).criteria
    climbs = bool(getattr(getattr(result.facts, "optimizer", None), "maximize", False))
    if {criterion.sign for criterion in criteria} == {1 if climbs else -1}:
        yield _turned(criteria, climbs=climbs)
    for criterion in criteria:
        target = criterion.target
        if criterion.swapped:
            yield finding(
                "loss",
                f"{in_words(criterion.kind)} is given the target first and the output second: "
                "the two are not the same to it",
                "criterion(output, target)",
            )
        if criterion.kind == "poisson" and target is not None and (target.low or 0.0) < 0:
            yield finding(
                "loss",
                f"the Poisson loss is of counts, and the targets go down to {target.low:.3g}: "
                "below 0 it falls without bound",
                "the squared error for targets of either sign",
            )


def _turned(criteria: Sequence[CriterionFacts], *, climbs: bool) -> Finding:
    """Say that a loss is minimised that is to grow, or climbed though it is to fall."""
    kinds = sorted({in_words(criterion.kind) for criterion in criteria})
    enter = f"{' and '.join(kinds)} {'enters' if len(kinds) == 1 else 'enter'} the loss"
    likelihood = any(c.kind in ("log-likelihood", *OF_CLASSES, *OF_TWO) for c in criteria)
    bound = ", without bound" if likelihood else ""
    if climbs:
        return finding(
            "loss",
            f"{enter} as it is, and the optimizer climbs (maximize=True): each step makes the "
            f"predictions worse{bound}",
            "an optimizer without maximize=True",
        )
    return finding(
        "loss",
        f"{enter} with the sign turned: minimising it makes the predictions worse{bound}",
        "minus the log-likelihood, or the criterion as it is, is what is minimised",
    )


@check("initial-loss")
def initial_loss(result: Result) -> Iterator[Finding]:
    """The first loss far above that of a constant prediction: confident and wrong."""
    yield from high_first_loss(result, HOPELESS_LOSS)


def high_first_loss(result: Result, hopeless: float, why: str = "") -> Iterator[Finding]:
    """Find a first loss far above that of a constant prediction.

    Parameters
    ----------
    hopeless
        How many times as large it has to be for an error.
    why
        At the end of an error's evidence.
    """
    for criterion in of_batch(result).criteria:
        first, constant = criterion.first_loss, criterion.constant_loss
        if first is None or constant is None or criterion.sign < 0:
            continue
        wrong = _wrong(criterion) or _sums_wrong(criterion)
        if _one_unit(criterion) or wrong or criterion.out_of_reach or _tiny(criterion):
            continue  # said elsewhere, and the cause of this
        lost = times_constant(criterion) >= hopeless
        high = first > max(FIRST_LOSS * constant, constant + FIRST_LOSS_MORE)
        if lost or (high and criterion.kind in (*OF_CLASSES, *OF_TWO)):
            yield finding(
                "initial-loss",
                f"the first loss of an example is {first:.3g}, and that of a constant prediction "
                f"{constant:.3g}: {_scores(criterion)}the first steps only undo that"
                + (why if lost else ""),
                "smaller weights in the last layer (a standard deviation of 0.02, or 0), and "
                "inputs of mean 0 and variance 1",
                severity="error" if lost else "warning",
            )
            return


def times_constant(criterion: CriterionFacts) -> float:
    """Return how many times the best constant prediction's loss the outputs make the first one.

    Of a distance, targets that lie far from 0 do not count: a bias brings the outputs there.
    """
    first, constant = criterion.first_loss, criterion.constant_loss
    if first is None or not constant:
        return 0.0
    if criterion.kind in (*OF_CLASSES, *OF_TWO):
        return first / constant
    rms = criterion.output.rms if criterion.output is not None else None
    std = criterion.target.std if criterion.target is not None else None
    if criterion.kind not in DISTANCES or rms is None or not std:
        return 0.0
    return min(first / constant, (rms / std) ** (1 if criterion.kind == "l1" else 2))


def _scores(criterion: CriterionFacts) -> str:
    output = criterion.output
    if output is None or output.rms is None:
        return ""
    if criterion.kind not in (*OF_CLASSES, *OF_TWO):
        return f"the outputs are far too large (root mean square {output.rms:.3g}), and "
    return f"the scores are confident and wrong (root mean square {output.rms:.3g}), and "


@check("targets")
def targets(result: Result) -> Iterator[Finding]:
    """Targets that are not finite, out of range, all alike, or of another size than the output."""
    facts = of_batch(result)
    for criterion in facts.criteria:
        if criterion.target is None:
            continue
        found = (
            _not_finite(criterion.target, facts)
            or _no_shares(criterion, criterion.target)
            or _out_of_range(criterion, criterion.target)
            or _no_signs(criterion, criterion.target)
            or _one_class(criterion, facts)
            or _far_away(criterion, criterion.target)
            or _far_below(criterion, criterion.target)
        )
        if found is not None:
            yield found
            return


def _not_finite(target: TensorFacts, facts: BatchFacts) -> Finding | None:
    finite = facts.loss is not None and math.isfinite(facts.loss)
    cause = lost_at(facts)
    if not target.nonfinite or finite or cause is None or any(i.nonfinite for i in facts.inputs):
        return None
    return finding("targets", *cause, severity="error")


def _out_of_range(criterion: CriterionFacts, target: TensorFacts) -> Finding | None:
    """Labels outside what probabilities can be."""
    outside, nearest = criterion.out_of_reach or 0.0, criterion.last
    if outside <= 0 or target.low is None or target.high is None:
        return None
    if criterion.kind in OF_TWO:
        whole = (target.values or 99) <= 32 and target.high >= 2 and target.low >= 0
        return finding(
            "targets",
            f"{outside:.0%} of the targets of {in_words(criterion.kind)} lie outside 0 to 1 (they "
            f"go from {target.low:.3g} to {target.high:.3g}): the loss has no lower bound there",
            "as many units as classes, and cross-entropy"
            if whole
            else "labels 0 and 1: (labels + 1) / 2 of labels -1 and 1",
            severity="error",
        )
    if nearest is None or not labels_two(target) or target.low >= 0:
        return None
    if criterion.kind not in DISTANCES or nearest.kind in ("tanh", "hardtanh"):
        return None
    return finding(
        "targets",
        f"the labels are {target.low:.3g} and {target.high:.3g}, and the {nearest.kind} after the "
        f"last layer cannot give {target.low:.3g}",
        "labels 0 and 1 with a sigmoid, or tanh with labels -1 and 1",
    )


def _no_signs(criterion: CriterionFacts, target: TensorFacts) -> Finding | None:
    """Labels 0 and 1 where 1 and -1 are asked for."""
    if criterion.kind not in OF_SIGNS or not labels_two(target) or target.low != 0:
        return None
    return finding(
        "targets",
        f"{in_words(criterion.kind)} takes labels 1 and -1, and gets 1 and 0: what is labelled 0 "
        "gives no gradient",
        "2 * labels - 1",
    )


def _sums_wrong(criterion: CriterionFacts) -> bool:
    """Return whether targets that ought to be probabilities do not sum to 1."""
    total = criterion.row_sum
    return criterion.kind == "cross-entropy" and total is not None and abs(total - 1) >= 0.1


def _no_shares(criterion: CriterionFacts, target: TensorFacts) -> Finding | None:
    """Targets of cross-entropy that are no probabilities, as of examples with several labels."""
    total = criterion.row_sum
    if target.integer or not _sums_wrong(criterion):
        return None
    return finding(
        "targets",
        f"the targets of cross-entropy are probabilities, and those of an example sum to "
        f"{total:.3g} on average",
        "BCEWithLogitsLoss where several classes are right at once; else rows that sum to 1",
    )


def _one_class(criterion: CriterionFacts, facts: BatchFacts) -> Finding | None:
    """All labels of a batch are the same."""
    alone = len(facts.criteria) == 1 and criterion.kind in OF_CLASSES and criterion.labels == 1
    target = criterion.target
    if not alone or target is None or not target.integer or math.prod(target.shape) < ONE_CLASS:
        return None
    if len(target.shape) != 1 or criterion.classes == 1:
        return None
    if criterion.layer_units is None and target.low == 0:  # similarities, the partner's first
        return None
    return finding(
        "targets",
        f"all {target.shape[0]} labels of the batch are {target.low:.0f}: the first steps only "
        "teach that class",
        "shuffle the examples before they are batched (DataLoader(shuffle=True)); look at the "
        "labels",
    )


def _tiny(criterion: CriterionFacts) -> bool:
    """Whether targets are so small that outputs of an ordinary size are far too large."""
    output = criterion.output
    ordinary = output is not None and output.rms is not None and output.rms <= 1
    distance = criterion.kind in DISTANCES
    return distance and ordinary and times_constant(criterion) >= HOPELESS_LOSS


def _far_below(criterion: CriterionFacts, target: TensorFacts) -> Finding | None:
    """Targets that are next to nothing beside what the network gives."""
    if not _tiny(criterion) or criterion.output is None:
        return None
    return finding(
        "targets",
        f"the targets have a standard deviation of {target.std:.3g}, and the first outputs a root "
        f"mean square of {criterion.output.rms:.3g}: the steps change far more than they are",
        "standardise the targets, (t - mean) / std, and undo it in the predictions",
        severity="error",
    )


def _far_away(criterion: CriterionFacts, target: TensorFacts) -> Finding | None:
    """Targets of another size than what the network gives."""
    output = criterion.output
    first, constant = criterion.first_loss, criterion.constant_loss
    if criterion.kind not in DISTANCES or output is None or None in (first, constant):
        return None
    rms, std, given = target.rms or 0.0, target.std or 0.0, max(output.rms or 0.0, 1.0)
    if target.integer or math.prod(target.shape) < 4 or rms < FAR_TARGETS * given:
        return None
    mean = abs(target.mean or 0.0)
    if mean >= 3 * std or std >= 30 * given:
        return finding(
            "targets",
            f"the targets have mean {target.mean:.3g} and standard deviation {std:.3g}, and the "
            f"first outputs a root mean square of {output.rms:.3g}: most of the training only "
            "moves the outputs there",
            "standardise the targets, (t - mean) / std, and undo it in the predictions",
            severity="error" if std >= HOPELESS_TARGETS * given else "warning",
        )
    return None
