"""Every finding's code: a new one is one line here. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What all findings of one code have in common.

    Attributes
    ----------
    name
        What ``--fail-on`` and ``assert_healthy`` take.
    severity
        ``error`` makes a network or run unhealthy and can be its verdict; ``warning`` does not;
        ``info`` is context.
    summary
        One line.
    also
        Further severities that a check may give it.
    """

    name: str
    severity: str
    summary: str
    also: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """The file of the docs that explains it, as seen from the project's root."""
        return f"docs/findings/{self.name}.md"


_ALL = (
    Code("broken", "error", "A value of the forward or backward pass is not finite."),
    Code("dead", "error", "Units have slope 0 for every example.", also=("warning",)),
    Code(
        "no-gradient",
        "error",
        "The gradient of layers is exactly 0.",
        also=("warning", "info"),
    ),
    Code("vanishing", "error", "The gradient fades over depth or time.", also=("warning",)),
    Code("collapse", "error", "Every example is mapped to nearly one point.", also=("warning",)),
    Code("saturated", "error", "Slopes are near 0 on an activation's plateaus.", also=("warning",)),
    Code(
        "exploding",
        "error",
        "The gradient grows over depth, or without end in training.",
        also=("warning",),
    ),
    Code(
        "diverged",
        "error",
        "The training loss grew far beyond its start, or is not finite.",
        also=("warning",),
    ),
    Code("unjudged", "warning", "What a verdict rests on could not be measured."),
    Code("batch", "info", "Too few examples for a statement, or for BatchNorm.", also=("warning",)),
    Code(
        "unreached",
        "warning",
        "No gradient reaches layers that could be trained.",
        also=("error",),
    ),
    Code("inputs", "warning", "Inputs are not finite, all alike, or of a bad scale.", ("error",)),
    Code("targets", "warning", "Targets are not finite, out of range or far away.", ("error",)),
    Code(
        "output-activation",
        "warning",
        "The loss does not go with the last layer's activation.",
        also=("error",),
    ),
    Code("shapes", "warning", "The loss broadcasts the output, or takes it apart.", ("error",)),
    Code("loss", "warning", "The loss has the wrong sign, or is of the wrong kind."),
    Code(
        "initial-loss",
        "warning",
        "The first loss is far above a constant prediction's.",
        also=("error",),
    ),
    Code(
        "unregistered",
        "warning",
        "Weights act on the loss and are no parameters of the model.",
        also=("error",),
    ),
    Code("symmetric", "error", "Units of a layer are copies of each other.", also=("warning",)),
    Code("mixed", "warning", "Examples of a batch depend on each other."),
    Code(
        "step-size",
        "warning",
        "Updates are far too large or too small for the weights.",
        ("error",),
    ),
    Code("linear", "warning", "Layers in a row have no non-linearity between them."),
    Code("dropout", "warning", "Dropout leaves next to nothing.", also=("error",)),
    Code("underflow", "warning", "Entries of a gradient round to 0."),
    Code("precision", "warning", "Magnitudes leave the range of the model's own dtype."),
    Code("unrecorded", "warning", "No step of an optimizer that trains the model was seen."),
    Code("not-updated", "warning", "Weights have a gradient and do not change.", also=("error",)),
    Code(
        "stale-gradients",
        "error",
        "Backward passes begin on the last step's gradients.",
        also=("warning",),
    ),
    Code("weight-decay", "warning", "Weight decay takes the weights away."),
    Code("stuck", "warning", "The loss stays where it began.", also=("error",)),
    Code("unfinished", "warning", "The loss was still falling fast when training ended."),
    Code(
        "width",
        "error",
        "Training moves layers further, or less far, the wider the network is.",
        also=("warning",),
    ),
    Code("spike", "warning", "The loss jumps far above its usual value."),
    Code("clipping", "warning", "Clipping engages in most of the steps.", also=("info",)),
    Code("skipped", "warning", "A GradScaler left out steps.", also=("error",)),
    Code("evaluation-mode", "warning", "The model trained in evaluation mode."),
    Code("scaled", "warning", "The gradients are a GradScaler's.", also=("info",)),
    Code("uncovered", "warning", "Something of the model could not be measured.", also=("info",)),
    Code("overclipped", "warning", "A policy clips more than half of the updates."),
    Code("below-expected", "warning", "A setting trains far worse than the best one."),
    Code("interrupted", "warning", "Ctrl-C came before all was done."),
    Code("self-normalising", "info", "Whether SELU keeps mean 0 and variance 1."),
    Code("bound", "info", "The rate of a recurrent network beside Pascanu's bound."),
    Code("one-seed", "info", "One seed says little about the spread over seeds."),
    Code("near-threshold", "info", "A network that passes is close to a bound of its verdict."),
    Code("compiled", "info", "The model goes through torch.compile."),
    Code("no-copy", "info", "A copy of the model could not be measured, or not be treated."),
    Code("lazy", "info", "The model had no shapes; a copy of it was initialised."),
    Code("shared", "info", "Layers share one weight."),
    Code("turned", "info", "A policy changes the gradient's direction."),
    Code("idle", "info", "A policy clipped nothing."),
    Code("suggested", "info", "The threshold under which training ended best."),
    Code("test-set", "info", "What the test set was used for."),
)

#: By name.
CODES: dict[str, Code] = {code.name: code for code in _ALL}


def register(code: Code) -> None:
    """Add a code of another package's, before its checks are declared.

    Raises
    ------
    ValueError
        If there is one of that name, or the severity is none.
    """
    if code.name in CODES:
        raise ValueError(f"there is a code '{code.name}' already")
    if not {code.severity, *code.also} <= {"error", "warning", "info"}:
        raise ValueError(f"a severity is error, warning or info, got '{code.severity}'")
    CODES[code.name] = code
