"""Facts of one batch, as plain numbers: what its checks read. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorFacts:
    """The numbers of a tensor: an input, an output, a target.

    Attributes
    ----------
    shape
        Its own; the first number is that of the examples.
    integer
        Whether it holds integers or truth values.
    nonfinite
        How many of its entries are not finite; -∞, as in masks, counts of targets
        alone.
    low, high, mean, std, rms
        Over the finite ones that were looked at.
    offset, spread
        Root mean square, over the features, of their mean and of their standard deviation over the
        examples.
    constant_share
        Share of the features that are the same for every example.
    example_spread
        Of what a criterion judges: share of its mean square that differs between the examples.
    directions
        Of what a criterion judges: in how many directions that differs, effectively (the
        participation ratio of its covariance): 1 where all examples lie on a line.
    values
        How many different values there are, where few.
    sentinel
        A number that comes several times and is far greater than all others, as -9999 is that
        stands for missing values; None: there is none.
    """

    shape: tuple[int, ...] = ()
    integer: bool = False
    nonfinite: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    rms: float | None = None
    offset: float | None = None
    spread: float | None = None
    constant_share: float | None = None
    example_spread: float | None = None
    directions: float | None = None
    values: int | None = None
    sentinel: float | None = None

    @property
    def examples(self) -> int:
        """The first number of its shape."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True)
class ActivationFacts:
    """An activation between the last layer and a criterion.

    Attributes
    ----------
    kind
        ``"softmax"``, ``"sigmoid"``, ``"ReLU"``, ….
    dim, size
        Of a softmax: the dimension and the number of units that it normalises over.
    shape
        Of its output.
    low, high
        Of a clamp: its ends.
    stuck_share
        Share of its outputs where its slope is exactly 0.
    stuck_units
        Share of its units where that is so for every example.
    """

    kind: str
    dim: int | None = None
    size: int | None = None
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    stuck_share: float | None = None
    stuck_units: float | None = None


@dataclass(frozen=True)
class RefusedFacts:
    """What a criterion was given when it raised.

    Attributes
    ----------
    kind
        As of `CriterionFacts`.
    output, target
        Their shapes.
    labels
        The least and the largest, if the targets are whole numbers; those left out do not count.
    why
        What it raised.
    """

    kind: str
    output: tuple[int, ...]
    target: tuple[int, ...]
    labels: tuple[int, int] | None
    why: str


@dataclass(frozen=True)
class CriterionFacts:
    """One criterion in the loss.

    Attributes
    ----------
    kind
        ``"cross-entropy"``, ``"nll"``, ``"bce"``, ``"bce-with-logits"``, ``"mse"``, ….
    sign
        1 or -1: how it enters the loss; 0 where that is not known.
    summed
        Whether it is a sum over the examples.
    heard
        Whether the program called torch's own function.
    activations
        Between the last layer and the criterion, the one nearest to the criterion first.
    layer_units
        Units of the layer whose numbers are judged; None where that is not clear.
    chosen, scaled, logs
        Whether a part of the numbers is taken behind that layer; whether they are multiplied or
        shifted behind the last activation; how often a logarithm is taken of them.
    output, target
        Their numbers.
    expanded
        The output's shape, and what the loss broadcasts it to; None: it does not.
    swapped
        Whether torch's function was given the target first, where that matters.
    classes
        Over how many classes.
    labels
        How many different ones there are in the batch.
    label_entropy, label_entropy_error
        Of the labels in the batch, in nats, with its standard error; None where classes have
        weights.
    normalisation
        Of log-probabilities: root mean square of the logarithm of the probabilities' sum, 0 if
        they are probabilities.
    first_loss
        The mean loss of an example.
    constant_loss
        What the best constant prediction has on this batch.
    out_of_reach
        Share of the targets that the last activation cannot give.
    unreachable
        What the nearest values that it can give leave of the targets' mean square about their mean.
    row_sum
        Of targets of a softmax, or of cross-entropy: their mean sum over its units.
    log_input
        Of a Poisson loss: whether it takes the logarithm of the rate.
    unit_length
        Whether every row of the output is of length 1.
    scrambled
        A convolution's shape, and that in which it is seen as rows of classes, where its channels
        were not moved to the end before; or that of sequences of scores, and that in which the
        classes come second, where they were not moved there.
    codebook
        Of one whose output is looked up in a table: how many of its rows are used.
    of_outputs
        Whether the target takes a gradient as well: two outputs are held against each other.
    mixing
        What mixes the examples on the way to it; None: nothing, or it is not known.
    beside
        Whether the loss has parts beside it that are no criterion known here.
    """

    kind: str
    sign: int = 1
    summed: bool | None = None
    heard: bool = False
    activations: tuple[ActivationFacts, ...] = ()
    layer_units: int | None = None
    chosen: bool = False
    scaled: bool = False
    logs: int = 0
    output: TensorFacts | None = None
    target: TensorFacts | None = None
    expanded: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    swapped: bool = False
    classes: int | None = None
    labels: int | None = None
    label_entropy: float | None = None
    label_entropy_error: float | None = None
    normalisation: float | None = None
    first_loss: float | None = None
    constant_loss: float | None = None
    out_of_reach: float | None = None
    unreachable: float | None = None
    row_sum: float | None = None
    log_input: bool = True
    unit_length: bool = False
    scrambled: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    codebook: CodebookFacts | None = None
    of_outputs: bool = False
    mixing: MixingFacts | None = None
    beside: bool = False

    @property
    def last(self) -> ActivationFacts | None:
        """The activation nearest to the criterion, clamps left out."""
        return next((a for a in self.activations if a.kind != "clamp"), None)


@dataclass(frozen=True)
class MixingFacts:
    """What makes what a criterion judges of one example depend on the others.

    Attributes
    ----------
    how
        The operation: ``"Softmax"``, ``"Mean"``, ``"Recurrence"``, ``"Attention"``, ``"View"``, ….
    axis, shape
        The axis that it runs over, and the shape of what it runs on; of a view, its shape.
    sure
        Whether it is known which axis holds the examples: no other is as long.
    """

    how: str
    axis: int
    shape: tuple[int, ...]
    sure: bool = True


@dataclass(frozen=True)
class CodebookFacts:
    """Rows of a table that were looked up, and that a criterion trains to stand for something.

    Attributes
    ----------
    used, lookups
        How many different ones there are among so many.
    """

    used: int
    lookups: int


@dataclass(frozen=True)
class LeafFacts:
    """A tensor that acts on the loss and takes a gradient, and is no parameter of the model."""

    shape: tuple[int, ...]
    entries: int


@dataclass(frozen=True)
class FirstLayerFacts:
    """The first layer with weights that the input goes through.

    Attributes
    ----------
    name
        Of its module.
    spread
        Root mean square, over its units, of its output's standard deviation over the examples.
    input_offset, input_spread
        Of its input, over the features: of the mean, and of the standard deviation.
    weight_gain
        Root mean square of its weights times the root of their fan-in.
    normalised
        Whether a normalisation follows it.
    activation
        That follows it.
    saturated
        Share of its outputs further than 4 from 0, without its bias.
    """

    name: str
    spread: float | None = None
    input_offset: float | None = None
    input_spread: float | None = None
    weight_gain: float | None = None
    normalised: bool = False
    activation: str | None = None
    saturated: float | None = None


@dataclass(frozen=True)
class StepFacts:
    """What a step of learning rate 1 along the gradient, or along its signs, would do.

    Attributes
    ----------
    relative
        The largest, over the layers, of its norm over the weight's.
    layer
        Of which that is.
    moved
        By how much it changes the first layer's outputs: root mean square over units and examples.
    """

    relative: float | None = None
    layer: str | None = None
    moved: float | None = None


@dataclass(frozen=True)
class UpdateFacts:
    """What the first update does, to first order.

    Attributes
    ----------
    optimizer
        Name of the optimizer's class; None: plain gradient descent is meant.
    lr
        Its learning rate.
    relative
        The largest, over the layers, of the update's norm over the weight's.
    layer
        Of which that is.
    moved
        By how much it changes the first layer's outputs: root mean square over units and examples.
    """

    optimizer: str | None = None
    lr: float | None = None
    relative: float | None = None
    layer: str | None = None
    moved: float | None = None


@dataclass(frozen=True)
class BatchFacts:
    """What was seen of one batch and its loss, just before the backward pass.

    What could not be read is None, or empty.

    Attributes
    ----------
    examples
        In the batch.
    loss
        Its value.
    inputs, outputs
        Of the model.
    criteria
        That the loss is made of, as far as they are known.
    cut_off
        Whether the loss is a tensor of its own, behind which no graph lies.
    unregistered
        Weights that the model uses and that are no parameters of it.
    unregistered_share
        Their share of all entries that the loss would train.
    linear
        Runs of layers with no non-linearity between them, by name.
    all_linear
        Whether there is none in the whole network.
    dropout
        Largest probability of a dropout, and of how many at least 0.9.
    batch_norm
        Whether a part of the model normalises over the batch that it is given.
    hazards
        Operations whose gradient is not finite where they were used, with how many entries.
    symmetric
        Layers all of whose units are copies of each other: equal weights and equal gradients.
    copied_outputs
        Two columns of the output that are equal in every example, though they differ between
        examples; None: there are none.
    drawn_signal
        Of codes that are drawn around a mean, as a variational autoencoder's: the variance of the
        mean between examples over that of the draw, of the unit where it is largest.
    penalised
        Of which share of the weights the loss takes the size, as an L1 or L2 penalty does.
    through_others
        Whether the loss is reached through parameters that this model's optimizer does not train,
        as a generator's is through its rival.
    draws
        Whether the model draws random numbers as it runs, as with dropout or a drawn code: then
        outputs of equal examples differ, too.
    first_layer
        Of the first layer.
    plain_step, unit_step
        Of a step along the gradient, and of one along its signs, as Adam's first is.
    update
        Of the first update.
    """

    examples: int | None = None
    loss: float | None = None
    inputs: tuple[TensorFacts, ...] = ()
    outputs: tuple[TensorFacts, ...] = ()
    criteria: tuple[CriterionFacts, ...] = ()
    cut_off: bool = False
    unregistered: tuple[LeafFacts, ...] = ()
    unregistered_share: float = 0.0
    linear: tuple[tuple[str, ...], ...] = ()
    all_linear: bool = False
    dropout: tuple[float, int] = (0.0, 0)
    batch_norm: bool = False
    hazards: tuple[tuple[str, int], ...] = ()
    symmetric: tuple[str, ...] = ()
    copied_outputs: tuple[int, int] | None = None
    drawn_signal: float | None = None
    penalised: float = 0.0
    through_others: bool = False
    draws: bool = False
    first_layer: FirstLayerFacts | None = None
    plain_step: StepFacts | None = None
    unit_step: StepFacts | None = None
    update: UpdateFacts | None = None
