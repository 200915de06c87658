"""Checks of a loss's graph, and of a model's layers. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from gradflow.findings.batches import many, of_batch, sized
from gradflow.findings.check import check, finding
from gradflow.findings.thresholds import DROPPED, UNREGISTERED
from gradflow.findings.words import first_few
from gradflow.results.base import Finding, Result
from gradflow.results.facts import CriterionFacts, MixingFacts

#: Things that a message lists.
_MOST = 4


@check("unreached")
def cut_off(result: Result) -> Iterator[Finding]:
    """A loss behind which no graph lies: nothing of the model can learn."""
    if of_batch(result).cut_off:
        yield finding(
            "unreached",
            "the loss is a tensor of its own, with no graph behind it: its gradient reaches no "
            "layer of the model",
            "call backward() on the loss as the criterion returns it: no detach(), item() or new "
            "tensor with requires_grad=True, and no argmax or no_grad() on the way",
            severity="error",
        )


@check("unregistered")
def unregistered(result: Result) -> Iterator[Finding]:
    """Weights that act on the loss and that no optimizer is given."""
    facts = of_batch(result)
    found = facts.unregistered
    if not found:
        return
    shapes = first_few([sized(leaf.shape) for leaf in found], _MOST)
    yield finding(
        "unregistered",
        f"{many(len(found), 'weight')} that the model uses {'is' if len(found) == 1 else 'are'} "
        f"not among its parameters ({shapes}), {facts.unregistered_share:.0%} of all that "
        "the loss would train: model.parameters() does not give them to the optimizer",
        "nn.ModuleList or nn.ModuleDict instead of a list or dict, nn.Parameter(…) for a tensor, "
        "and layers made in __init__, not in forward",
        severity="error" if facts.unregistered_share >= UNREGISTERED else "warning",
    )


@check("symmetric")
def symmetric(result: Result) -> Iterator[Finding]:
    """Units that are copies of each other, and stay so."""
    names = of_batch(result).symmetric
    if names:
        yield finding(
            "symmetric",
            f"all units of {first_few(names, _MOST)} have the same weights and the same gradient: "
            "they stay copies of each other, and the layer acts as one unit",
            "random initial weights, of zero mean; only biases may be constant",
        )
    copies = of_batch(result).copied_outputs
    if copies and not names:
        yield finding(
            "symmetric",
            f"outputs {copies[0]} and {copies[1]} of the model are the same number for every "
            "example: one module seems to give both",
            "a module of its own for each: [nn.Linear(…) for _ in range(n)] instead of "
            "[nn.Linear(…)] * n",
            severity="warning",
        )


@check("mixed")
def mixed(result: Result) -> Iterator[Finding]:
    """Examples that depend on each other through the model."""
    for criterion in of_batch(result).criteria:
        if criterion.mixing is not None and criterion.mixing.sure and not _said(criterion):
            yield mixed_by(criterion.mixing)
            return


def _said(criterion: CriterionFacts) -> bool:
    """Whether `output-activation` says it: a softmax over the examples, last of all."""
    return criterion.last is not None and "softmax" in criterion.last.kind


def mixed_by(mixing: MixingFacts) -> Finding:
    """Return what is to be said of what mixes the examples."""
    reduced = (f"a {mixing.how.lower()} is taken", "the axis of what is meant, dim=1 or so")
    what, advice = _MIXES.get(mixing.how, reduced)
    where = (
        f"to the shape {sized(mixing.shape)}, of which a row holds parts of several examples"
        if mixing.how == "View"
        else f"along axis {mixing.axis} of a tensor of shape {sized(mixing.shape)}, "
        "which is the examples'"
    )
    return finding(
        "mixed",
        f"what the loss judges of one example depends on the others: {what} {where}",
        advice,
    )


_MIXES = {
    "Softmax": ("a softmax runs", "softmax over an axis of one example: dim=1 or dim=-1"),
    "SafeSoftmax": ("a softmax runs", "softmax over an axis of one example: dim=1 or dim=-1"),
    "LogSoftmax": ("a log-softmax runs", "log_softmax over an axis of one example: dim=1 or -1"),
    "NativeLayerNorm": (
        "a layer normalisation runs",
        "nn.LayerNorm(features): the shape of one example's numbers, without the batch",
    ),
    "Recurrence": (
        "a recurrence goes",
        "batch_first=True; or time first in the inputs, x.transpose(0, 1), and in what follows",
    ),
    "Attention": (
        "attention goes",
        "batch_first=True; or time first in the inputs, x.transpose(0, 1), and in what follows",
    ),
    "View": (
        "a tensor is viewed or reshaped",
        "transpose() or permute() first: view and reshape turn no axes, they cut anew",
    ),
}


@check("linear")
def linear(result: Result) -> Iterator[Finding]:
    """Layers in a row without a non-linearity."""
    facts = of_batch(result)
    if facts.all_linear:
        yield finding(
            "linear",
            "there is no activation between the layers of the network: together they are one "
            "linear layer, pooling aside",
            "an activation (ReLU, GELU, tanh) after every hidden layer",
        )
    elif facts.linear:
        pairs = ", ".join(" and ".join(names) for names in facts.linear[:_MOST])
        yield finding(
            "linear",
            f"there is no non-linearity between {pairs}: together they are one linear layer",
            "an activation between them, or one layer instead",
        )


@check("dropout")
def dropout(result: Result) -> Iterator[Finding]:
    """Dropout that leaves next to nothing."""
    largest, often = of_batch(result).dropout
    if largest < DROPPED:
        return
    left = f"{100 * (1 - largest):.2g} % of the activations"
    yield finding(
        "dropout",
        f"dropout of up to {largest:.3g}, in {many(often, 'layer')}, leaves {left}"
        + (": nothing gets through" if largest >= 1 else ""),
        "p is the share that is dropped: 0.1 to 0.5",
        severity="error" if largest >= 1 else "warning",
    )
