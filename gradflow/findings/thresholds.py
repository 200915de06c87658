"""The thresholds of all checks, and the reason for each. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A number that decides whether something is worth a finding, and why it is this one."""

    name: str
    value: float
    reason: str


#: By name, for whoever wants to list them; checks use the numbers below.
THRESHOLDS: dict[str, Threshold] = {}


def _threshold(name: str, value: float, reason: str) -> float:
    if name in THRESHOLDS:  # one of two would decide for both
        raise ValueError(f"the threshold '{name}' has two values")
    THRESHOLDS[name] = Threshold(name, value, reason)
    return value


DECADES = _threshold(
    "decades",
    2.3,
    "Powers of ten that δ may lose or gain over the hidden layers before training is at risk, from "
    "13 layers on: chosen on trained networks (docs/calibration.md).",
)
FEW_LAYERS = _threshold(
    "few layers",
    13,
    "Hidden layers below which a network bears more: three sigmoid layers train at 3 decades.",
)
DECADES_PER_LAYER = _threshold(
    "decades per layer",
    0.1,
    "By how many decades more, for every layer fewer.",
)
SIGNAL_DECADES = _threshold(
    "signal decades",
    2.55,
    "Powers of ten that the difference between examples may lose on its way forwards, in "
    "amplitude; normalised residual networks of 32 layers train at 2.5.",
)
BATCH_NORM_DECADES = _threshold(
    "decades with batch normalisation",
    3.5,
    "The same for δ that grows where batch normalisation is: its scale makes δ grow by some ten "
    "percent a layer, which the normalised layers' gradients do not follow, and networks at 2.3 "
    "to 3.5 decades train (docs/calibration.md).",
)
HEAD_DECADES = _threshold(
    "head decades",
    4.0,
    "Powers of ten that δ may lose from the output to the last hidden layer without a word. Small "
    "output weights are good practice (a policy's head of 0.01), and a wide layer behind few "
    "outputs loses one more.",
)
DEAD = _threshold(
    "dead",
    0.9,
    "Share of units with slope 0 for every example from which a layer stops the gradient. In a "
    "narrow, deep ReLU network a third is dead by chance, and it trains.",
)
NO_GRADIENT = _threshold(
    "no gradient",
    0.5,
    "Share of the hidden layers with a gradient of exactly 0 from which a network cannot train. "
    "Single ones are common: an expert that no token was sent to, attention to one token.",
)
DEAD_AFTER_TRAINING = _threshold(
    "dead after training",
    0.5,
    "Share of dead units at the end of training from which a warning is worth it: they no longer "
    "take part, though the network may have trained.",
)
SATURATED = _threshold(
    "saturated",
    0.5,
    "Share of slopes below 1 % of the largest from which saturation explains why δ shrinks.",
)
SATURATED_EVERYWHERE = _threshold(
    "saturated everywhere",
    0.8,
    "Mean share of such slopes over all hidden layers from which it is an error: no step moves a "
    "unit off its plateau. A tanh network of 0.98 does not learn, and those that learn have 0.4 "
    "at most.",
)
SATURATED_OUTPUT = _threshold(
    "saturated output",
    0.9,
    "The same of the activation after the output layer, where it also counts how small δ is.",
)
STUCK_OUTPUT = _threshold(
    "stuck output",
    0.05,
    "δ over the loss below which saturated outputs no longer follow the loss. A trained network is "
    "saturated too, but its loss is as small as its δ.",
)
SATURATED_ATTENTION = _threshold(
    "saturated attention",
    0.6,
    "Mean share over all attention of the queries that see one key alone from which it is an "
    "error: at 0.7 and above small transformers did not learn to copy the last token, which those "
    "at 0.0 did. Single sharp heads are what training makes.",
)
SHARP_ATTENTION = _threshold(
    "sharp attention",
    0.2,
    "Entropy of attention's weights, as a share of the largest, below which it is sharp: weights "
    "× 20 bring a small vision transformer to 0.13, and those of a fresh one are above 0.9.",
)
TOKEN_SPREAD = _threshold(
    "token spread",
    0.05,
    "Share of the mean square that differs between the tokens of an example: the streams of 60 "
    "fresh public transformers keep 0.2 and more; three blocks without residual connections come "
    "to 0.015 and learn to copy the last token far more slowly, eight to 0.0001.",
)
TOKEN_SPREAD_LEFT = _threshold(
    "token spread left",
    0.2,
    "The same where the first layers tell tokens apart: four blocks of GPT-2 and BERT without "
    "residual connections come to 0.19 and learn nothing of the order of words; with them they "
    "keep 0.55 and more, and other public transformers 0.25 and more.",
)
TOKEN_SPREAD_LOST = _threshold(
    "token spread lost",
    3,
    "By which factor it has then to have shrunk: tokens that are alike from the start are another "
    "matter.",
)
TOKEN_SPREAD_BACK = _threshold(
    "token spread back",
    1.25,
    "How much more tokens have to differ behind attention than in what it puts out, dropout aside: "
    "then a residual connection, or a gate, leads past it. Four public transformers whose tokens "
    "grow alike that way (1.5 and more) learn; without residual connections it is 1.05 at most.",
)
SATURATED_GATE = _threshold(
    "saturated gate",
    0.5,
    "Share of a gate's entries on a plateau; an open forget gate is meant to be there.",
)
GROWS_OVER_TIME = _threshold(
    "grows over time",
    1.2,
    "Decades more that ∂C/∂x may grow over the time steps than it may shrink: an LSTM whose forget "
    "gate is open (a bias of 4) gains 2.6 over 80 steps and trains.",
)
LOST_IN_FLOAT32 = _threshold(
    "lost in float32",
    7.2,
    "Decades over the time steps from which what the first step adds to the gradient is less than "
    "float32 rounds away beside the last one's (2⁻²⁴).",
)
SATURATED_AFTER_TRAINING = _threshold(
    "saturated after training",
    0.9,
    "The same at the end of training, where confident units are meant to saturate.",
)
UNDERFLOW = _threshold(
    "underflow",
    0.001,
    "Share of a layer's gradient entries that half precision may lose without a word.",
)
CLIPPED_OFTEN = _threshold(
    "clipped often",
    0.5,
    "More than half of the updates clipped: something else is wrong (Godbole et al., Deep "
    "Learning Tuning Playbook, 2023).",
)
CLIPPED_AWAY = _threshold(
    "clipped away",
    1e-4,
    "Norm of a clipped gradient below which Adam's ε of 1e-8 may count beside its entries.",
)
TURNED = _threshold(
    "turned",
    0.99,
    "Cosine of the angle between the raw and the clipped gradient below which it is said: 8°.",
)
LEAST_SCALE = _threshold(
    "least scale",
    8,
    "Power of two: a GradScaler starts at 2¹⁶, and what shrinks by less than 2⁸ may be clipping.",
)
BEHIND = _threshold(
    "behind",
    0.02,
    "Test accuracy below the best setting's from which a setting is called out.",
)
EQUAL = _threshold(
    "equal",
    0.005,
    "Difference of two test accuracies, half a point, below which two settings are as good as "
    "equal: an epoch more or fewer moves the article's network by as much.",
)
SELU_MEAN = _threshold(
    "SELU mean",
    0.1,
    "Distance of an activation's mean from 0 (Klambauer et al. 2017, section 2).",
)
SELU_LEAST_VARIANCE = _threshold(
    "SELU least variance", 0.8, "Of an activation (Klambauer et al. 2017, section 2)."
)
SELU_LARGEST_VARIANCE = _threshold(
    "SELU largest variance", 1.5, "Of an activation (Klambauer et al. 2017, section 2)."
)
ONE_SEED = _threshold(
    "one seed",
    1.0,
    "Logarithm of E‖δ‖⁴/(E‖δ‖²)² from which one random network says little: its ‖δ‖² scatters by "
    "a factor of e (Hanin & Nica 2020).",
)
LEAST_LOSSES = int(
    _threshold(
        "least losses",
        5,
        "Recorded losses below which nothing is said of their curve.",
    )
)
ENOUGH_EXAMPLES = _threshold(
    "enough examples",
    16,
    "Of a batch below which what a constant prediction has on it says little of all batches.",
)
LABELS_EACH = _threshold(
    "labels each",
    5.0,
    "Examples in a batch, over the classes, from which it tells how often each class is.",
)
FELL = _threshold(
    "fell",
    0.7,
    "Share of the first loss, or of a constant prediction's, below which a run has learnt.",
)
FLAT = _threshold(
    "flat",
    0.97,
    "Share of the same above which it has not.",
)
DIVERGED = _threshold(
    "diverged",
    10.0,
    "Last loss over the first from which training has diverged; a generator's grows severalfold.",
)
RISEN = _threshold(
    "risen",
    1.1,
    "Last loss over the first from which a loss is not stuck, where nothing tells a constant's.",
)
STUCK_STEPS = _threshold(
    "stuck steps",
    40,
    "Recorded steps before which a loss that stays where it began is no news.",
)
STUCK_FOR_GOOD = _threshold(
    "stuck for good",
    150,
    "Steps from which a constant prediction is an error; a slow start is fifty steps long.",
)
ALIKE = _threshold(
    "alike",
    0.02,
    "Spread of outputs over examples, as a share of their rms, below which they are alike.",
)
COLLAPSED = _threshold(
    "collapsed",
    1e-3,
    "The same below which they are one point; targets far from 0 are predicted with 0.01.",
)
DRAWN_ALIKE = _threshold(
    "drawn alike",
    0.01,
    "Variance of a drawn code's mean between examples over that of the draw below which the code "
    "says next to nothing: 0.005 nats a unit.",
)
SPREAD_KEPT = _threshold(
    "spread kept",
    0.05,
    "Share of the first step's spread below which outputs have come together.",
)
SHORT_RUN = _threshold(
    "short run",
    100,
    "Steps up to which a loss along a falling line says that there were too few.",
)
FAR_DOWN = _threshold(
    "far down",
    0.4,
    "Share of its start below which a loss that still falls is no longer called unfinished.",
)
STILL_FALLING = _threshold(
    "still falling",
    0.4,
    "Share of a loss's fall that came in the second half of the steps: 0.5 along a straight line.",
)
GRADIENT_GROWTH = _threshold(
    "gradient growth",
    2.0,
    "Decades that ‖g‖ of the last steps lies above that of the first, of a run that has not learnt "
    "(docs/faults.md, the thresholds of the loop).",
)
JUMP = _threshold(
    "jump",
    8.0,
    "Loss over its usual one from which it is a spike.",
)
FEW_STEPS = _threshold(
    "few steps",
    20,
    "Steps below which nothing is said of a schedule.",
)
NO_RATE = _threshold(
    "no rate",
    1e-3,
    "Share of the largest learning rate below which next to nothing is learnt.",
)
STOPPED_RATE = _threshold(
    "stopped rate",
    0.5,
    "Share of the steps with such a rate from which a scheduler counts the wrong thing: a cosine "
    "spends 2 % there, three decays by 10 a quarter.",
)
FADED = _threshold(
    "faded",
    -12.0,
    "log₁₀ of a weight gradient's norm from which an update rounds to 0, whatever the optimizer: "
    "Adam's is this over its ε of 1e-8, times the learning rate.",
)
STALE = _threshold(
    "stale",
    0.5,
    "Share of the steps whose gradients held those of the step before.",
)
LEAST_SAMPLED = int(
    _threshold(
        "least sampled",
        3,
        "Sampled steps below which nothing is said of updates.",
    )
)
LARGE_UPDATE = _threshold(
    "large update",
    0.1,
    "‖Δw‖/‖w‖ of the median layer from which steps are too large, of a run that has not learnt.",
)
EARLY = int(
    _threshold(
        "early",
        3,
        "Sampled steps at the start that are judged alone as well: weights that huge steps have "
        "made grow hide how large the steps are.",
    )
)
SMALL_UPDATE = _threshold(
    "small update",
    1e-3,
    "‖Δw‖/‖w‖ of the median layer below which a run that has come nowhere takes too small steps.",
)
TINY_UPDATE = _threshold(
    "tiny update",
    1e-5,
    "The same for runs so short that steps of the right size come nowhere: fine-tuning takes "
    "steps of 10⁻⁴.",
)
CREEPING = _threshold(
    "creeping",
    0.25,
    "Share of a loss's fall that came in the second half of the steps, from which a loss that has "
    "not fallen far creeps along; one that has come to rest has a few percent.",
)
MANY_STEPS = 100
MOMENTUM = _threshold(
    "momentum",
    0.995,
    "Below, a momentum is never called too large, however short the run is.",
)
LARGE_START = _threshold(
    "large start",
    0.3,
    "The same of the first three steps alone: Adam at 0.01 begins with 0.1, RMSprop with 10 times "
    "its learning rate.",
)
HUGE_UPDATE = _threshold(
    "huge update",
    1.0,
    "‖Δw‖/‖w‖ of the first step, of any run whose weights then grew manyfold: Adam at 0.1 begins "
    "with 0.8 and trains, at 0.3 with 2.5 and its loss spikes.",
)
GROWN = _threshold(
    "grown",
    8.0,
    "Last ‖w‖ over the first of such a run: 3.8 after Adam at 0.1, 14 at 0.3, 34 at 1.",
)
RIGHT_UPDATE = _threshold(
    "right update",
    3e-3,
    "‖Δw‖/‖w‖ that training goes well with.",
)
MOVED = _threshold(
    "moved",
    0.05,
    "Sum of ‖Δw‖/‖w‖ over all steps below which a run cannot have learnt much.",
)
DECAYED = _threshold(
    "decayed",
    0.5,
    "Last ‖w‖ over the first, of the median layer, from which weights shrink away.",
)
MOST_PENALISED = _threshold(
    "most penalised",
    0.5,
    "Share of the weights whose size the loss has to take for a penalty on them.",
)
DECAYED_AWAY = _threshold(
    "decayed away",
    0.7,
    "Logarithm of the factor that weight decay alone takes off: what explains half the norm.",
)
DECAY_SHARE = _threshold(
    "decay share",
    0.5,
    "Weight decay times ‖w‖ over ‖g‖, at the median, from which the decay leads Adam's steps.",
)
CONFLICTING = _threshold(
    "conflicting",
    0.7,
    "How often an example comes again with another target, over how often that is so by chance.",
)
CONFLICT_EXAMPLES = int(
    _threshold(
        "conflict examples",
        20,
        "Examples that have to come again before anything is said of their targets.",
    )
)
SAME_TARGETS = _threshold(
    "same targets",
    0.5,
    "Share of the numbers that are the same when their example comes again: more is no conflict.",
)
EQUAL_ROWS = _threshold(
    "equal rows",
    0.02,
    "Share of a batch's rows that may be equal: more are equal by nature, and so may have two "
    "targets.",
)
INPUTS_DIFFER = _threshold(
    "inputs differ",
    1e-6,
    "Share of the inputs' root mean square that differs between examples, below which outputs "
    "that are alike say nothing.",
)

FIRST_LOSS = _threshold(
    "first loss",
    3.0,
    "The first loss over a constant prediction's from which scores are confident and wrong: fresh "
    "networks start within a few tenths of it, He's weights in the last layer at about 1 more.",
)
FIRST_LOSS_MORE = _threshold(
    "first loss, more",
    3.0,
    "By how much more than a constant prediction's it has to be as well, where that is small.",
)
OUT_OF_REACH = _threshold(
    "out of reach",
    0.05,
    "Share of a regression's targets that the output's activation cannot give from which it is "
    "not a matter of single outliers.",
)
UNREACHABLE = _threshold(
    "unreachable",
    0.6,
    "Share of the targets' variance that the nearest outputs leave from which the network cannot "
    "learn its task. Numbers of either sign behind a ReLU leave half, as where features are judged "
    "that were not meant to be.",
)
OFF_THE_SPHERE = _threshold(
    "off the sphere",
    0.5,
    "Share of a regression's targets that are not of length 1, where all outputs are, from which "
    "that is not meant.",
)

FIRST_MOVE = _threshold(
    "first move",
    3.0,
    "By how many times what tells examples apart the first update may change the first layer's "
    "outputs: images of 0 to 255 at a rate of 0.1 come to hundreds, of 0 to 1 to 0.1.",
)
FAINT = _threshold(
    "faint",
    0.02,
    "Standard deviation, between examples, of the first layer's outputs below which its biases "
    "drown what tells examples apart; of standardised inputs it is about 0.6.",
)
SLOW = _threshold(
    "slow",
    1e-4,
    "Change of the first layer's outputs by one update below which 10,000 would be needed for a "
    "change of 1.",
)
FAR = _threshold(
    "far",
    10.0,
    "What all inputs have in common over what tells them apart, from which a learning rate that is "
    "right for the one is 100 times too small for the other; images of 0 to 1 are at 1 to 2.",
)
LARGE = _threshold(
    "large inputs",
    5.0,
    "Root mean square of inputs, and of the outputs that they lead to, above which they are far "
    "from standardised ones.",
)
WHOLE_STEP = _threshold(
    "whole step",
    1.0,
    "Size of the first update over that of the weights from which nothing is left of them.",
)

UNCOVERED = _threshold(
    "uncovered",
    0.01,
    "Share of the trained entries above which it is a warning that no row shows them.",
)
DROPPED = _threshold(
    "dropped",
    0.9,
    "Probability of a dropout from which next to nothing is left: meant is, as a rule, what is "
    "kept.",
)
UNREGISTERED = _threshold(
    "unregistered",
    0.5,
    "Share of what the loss would train that no optimizer is given from which it is an error; "
    "less may be a prompt or a bias that is moved by hand.",
)
ONE_CLASS = _threshold(
    "one class",
    16,
    "Labels of a batch from which it is no chance that all are the same.",
)
FAR_TARGETS = _threshold(
    "far targets",
    10.0,
    "rms of a regression's targets over that of the first outputs (at least 1) from which most of "
    "the training may be the way there.",
)


@dataclass(frozen=True)
class Tolerance:
    """What a kind of optimizer copes with, in powers of ten of amplitude.

    Attributes
    ----------
    decades
        That δ may lose over the hidden layers, from 13 of them on.
    signal_decades
        That the difference between examples may lose up to the last hidden layer.
    score_decades, value_decades
        That it may lose up to the output: where that is scores of classes, and where it is held
        against numbers.
    score_together, value_together
        That it and δ may lose together.
    number_decades, number_together
        Both where an example has one number to meet.
    line_decades
        That it may lose up to scores of classes where all examples lie on one line.
    around_decades
        That δ may lose up to the first layer where it comes there by another way.
    known_decades
        That δ may lose where the outputs are seen to differ between examples.
    """

    decades: float
    signal_decades: float
    score_decades: float
    value_decades: float
    score_together: float
    value_together: float
    number_decades: float
    number_together: float
    around_decades: float
    line_decades: float
    known_decades: float = 0.0

    def bearable_decades(self, layers: int) -> float:
        """Return how many decades δ may lose over so many layers."""
        return self.decades + DECADES_PER_LAYER * max(0.0, FEW_LAYERS - layers)

    def bearable_around(self, layers: int) -> float:
        """Return how many it may lose up to the first layer where it goes around the others."""
        return max(self.bearable_decades(layers), self.around_decades)

    def bearable_seen(self, layers: int) -> float:
        """Return the same where outputs are seen to differ between examples."""
        return max(self.bearable_decades(layers), self.known_decades)

    def bearable_signal(self, layers: int) -> float:
        """Return how many decades the difference between examples may lose over so many layers."""
        return max(self.signal_decades, self.bearable_decades(layers))


LINE_DECADES = _threshold(
    "line decades",
    2.0,
    "As `score decades`, with any optimizer, where all examples lie on one line: DenseNets learn "
    "at 1.5 and do not at 2.04.",
)
#: SGD, with or without momentum: a step is as small as the gradient.
PLAIN = Tolerance(
    DECADES,
    SIGNAL_DECADES,
    _threshold(
        "score decades with SGD",
        2.0,
        "Powers of ten that the difference between examples may lose up to the scores of classes, "
        "for optimizers whose steps are as small as the gradient (docs/calibration.md).",
    ),
    _threshold("value decades with SGD", 2.0, "The same up to an output that is a number."),
    score_together=_threshold(
        "score decades and δ's with SGD",
        3.0,
        "What the difference between examples loses up to the scores, and δ on its way back, in "
        "one sum: a step changes the first layers by the one, and the scores then by the other. "
        "Those that learn come to 2.94, U-Nets left out, and what is above is sick or slow.",
    ),
    value_together=_threshold(
        "value decades and δ's with SGD", 3.0, "The same up to an output that is a number."
    ),
    number_decades=_threshold(
        "number decades with SGD", 2.0, "As `value decades with SGD`, of one number an example."
    ),
    number_together=_threshold(
        "number decades and δ's with SGD", 3.0, "The same with δ's: none is known to learn beyond."
    ),
    around_decades=_threshold(
        "decades around with SGD",
        2.7,
        "As `decades`, where δ comes to the first layer by another way, as across a U-Net: they "
        "learn at 2.65 and not at 3.2.",
    ),
    line_decades=LINE_DECADES,
)
#: Adam and the like: a step is as large in every layer, whatever the gradient.
ADAPTIVE = Tolerance(
    _threshold(
        "decades with Adam",
        3.3,
        "As `decades`, for optimizers that divide by the gradient's size (docs/calibration.md).",
    ),
    _threshold(
        "signal decades with Adam",
        5.0,
        "As `signal decades`: at 4.9 Adam still brings the difference back, beyond it the next "
        "layers' biases alone learn, and float32 holds 7.",
    ),
    _threshold(
        "score decades with Adam",
        5.8,
        "As `score decades with SGD`: a GRU learns at 5.55, a tanh recurrence at 6.1 does not.",
    ),
    _threshold(
        "value decades with Adam",
        2.5,
        "As `value decades with SGD`: a number has to be met, scores of classes need only differ.",
    ),
    score_together=_threshold(
        "score decades and δ's with Adam",
        10.0,
        "As with SGD: Adam brings back 9.6, float32 holds 7 in one value.",
    ),
    value_together=_threshold(
        "value decades and δ's with Adam",
        5.0,
        "The same up to an output that is a number: convolutional autoencoders learn at 4.6, dense "
        "ones at 5.5 and more do not.",
    ),
    number_decades=_threshold(
        "number decades with Adam",
        5.8,
        "As `value decades with Adam`, where an example has one number: a regression learns at "
        "4.95, and at 7.6, beyond what float32 holds; none is known not to below 6.9.",
    ),
    number_together=_threshold(
        "number decades and δ's with Adam",
        12.0,
        "The same with δ's: regressions learn at 5.2, 5.6, 10.6 and 15.6, one at 20.3 does not.",
    ),
    around_decades=_threshold(
        "decades around with Adam",
        5.0,
        "As `decades around with SGD`: U-Nets learn at 3.6 and 4.7.",
    ),
    line_decades=LINE_DECADES,
    known_decades=_threshold(
        "known decades with Adam",
        9.0,
        "As `decades with Adam`, where outputs are seen to differ between examples and nothing is "
        "drawn: δ alone is then only small, and Adam divides by its size. A convolutional "
        "autoencoder with small weights learns at 8.9, a regression at 10.2 does not.",
    ),
)
DENSE_TOGETHER = _threshold(
    "dense together",
    8.5,
    "Decades that δ and the difference between examples may lose together, up to scores behind "
    "dense layers, where δ alone loses more than it may without a look at the scores: a graph "
    "network learns at 8.1; twelve tanh layers at 8.9 come half of the way in 300 steps, one at "
    "9.6 hardly.",
)
LEAST_TOGETHER = _threshold(
    "least together",
    1.0,
    "Decades that the difference between examples has to have lost up to numbers before δ's are "
    "added: where it is all there, δ is only small.",
)
#: Optimizers that divide by the gradient's size, by their lower-case class names.
_ADAPTIVE_NAMES = frozenset(
    {
        "adam",
        "adamw",
        "adamax",
        "nadam",
        "radam",
        "rmsprop",
        "adagrad",
        "adadelta",
        "adafactor",
        "rprop",
        "sparseadam",
        "adan",
        "adopt",
        "lion",
        "lamb",
        "adabelief",
        "yogi",
        "shampoo",
        "soap",
        "muon",
        "adam8bit",
        "adamw8bit",
        "pagedadamw",
        "fusedadam",
        "fusedlamb",
        "deepspeedcpuadam",
        "prodigy",
        "adamwschedulefree",
    }
)
#: Those that do not.
_PLAIN_NAMES = frozenset({"sgd", "asgd", "fusedsgd", "sgd8bit", "sgdschedulefree"})


def is_adaptive(optimizer: str | None) -> bool | None:
    """Return whether an optimizer divides by the gradient's size; None: that is not known."""
    name = "" if optimizer is None else optimizer.lower()
    if name in _PLAIN_NAMES:
        return False
    return True if name in _ADAPTIVE_NAMES else None


def tolerances(optimizer: str | None) -> tuple[Tolerance, Tolerance]:
    """Return what is a warning, and what is an error, for an optimizer by its class's name.

    An error for one that is not known is what trains with neither kind; a warning, what trains
    with Adam alone.
    """
    adaptive = is_adaptive(optimizer)
    return PLAIN if not adaptive else ADAPTIVE, PLAIN if adaptive is False else ADAPTIVE


def of_a_run(optimizer: str | None) -> str | None:
    """Return the optimizer that the verdict on a watched run is for.

    With SGD, any: how long the run is meant to be is not known, and a long one may still learn
    what the networks behind the thresholds, trained for some hundred steps, did not.
    """
    return optimizer if is_adaptive(optimizer) else None


GOES_AROUND = _threshold(
    "goes around",
    1.0,
    "Decades by which δ at the first layer is above the smallest from which it comes there by "
    "another way, as across a U-Net: those that learn have 1.2 to 2.5, stacks 0 to 0.6.",
)
HOPELESS_LOSS = _threshold(
    "hopeless loss",
    2000.0,
    "First loss over a constant prediction's from which a network is sick: of 335 networks none "
    "that learnt began above 1,540; between 30 and that, as many recovered as did not.",
)
DISAGREEING_LOSS = _threshold(
    "disagreeing loss",
    60.0,
    "The same where examples do not agree on the step that would undo it: of those that learn in "
    "some hundred steps none is above 31, and what was above 95 was sick.",
)
ONE_DIRECTION = _threshold(
    "one direction",
    1.05,
    "Directions in which scores of more than two classes differ between examples, effectively, "
    "below which all lie on a line: 1.00 and 1.02 in DenseNets of sigmoids that do not learn.",
)
AGREE = _threshold(
    "agree",
    0.05,
    "Share of the mean square of an example's gradient, at the first layer, that is the batch's "
    "below which examples do not agree; where a large loss is undone it is 0.14 and more.",
)
DROWNED_LOSS = _threshold(
    "drowned loss",
    2.0**-24,
    "Share of an endless loss that is its known criteria, below which float32 rounds them away.",
)
ENDLESS_LOSS = _threshold(
    "endless loss",
    1e20,
    "First loss that no step undoes, whatever it is made of: an exponential of a large "
    "log-variance comes to 10³⁰, a scaled and summed loss to 10⁹.",
)
HOPELESS_TARGETS = _threshold(
    "hopeless targets",
    250.0,
    "The targets' standard deviation over the first outputs' root mean square (or 1) from which "
    "few networks come there in some hundred steps.",
)
NEAR = _threshold(
    "near",
    0.15,
    "Distance from a threshold, as a share of it, within which the verdict says so.",
)
NEAR_DECADES = _threshold(
    "near decades",
    0.3,
    "Powers of ten below a threshold from which a network that passes is told how near it is.",
)
FAR_RATE = _threshold(
    "far rate",
    30.0,
    "A learning rate in use so many times above or below the one that `gradflow lr` suggests is "
    "far off: within ten times of it most networks train (docs/learning-rate.md).",
)
FAR_ABOVE_ADAM = _threshold(
    "far above Adam's",
    50.0,
    "A learning rate so many times above what the first gradient suggests for Adam is far off: on "
    "no trained network was it within ten times of the best (docs/learning-rate.md).",
)
FAR_BELOW_ADAM = _threshold(
    "far below Adam's",
    120.0,
    "The same below it.",
)
FAR_ABOVE_SGD = _threshold(
    "far above SGD's",
    250.0,
    "The same above what it suggests for gradient descent, which is less sure.",
)
FAR_BELOW_SGD = _threshold(
    "far below SGD's",
    600.0,
    "The same below it.",
)
WIDTH_POWER = _threshold(
    "width power",
    0.25,
    "Power of the width from which a layer depends on it. In theory powers are 0, 1/2, 1, …: this "
    "is half-way to the first that is not 0.",
)


def bearable_decades(layers: int, *, batch_norm: bool = False) -> float:
    """Return how many decades δ may lose over so many hidden layers; what it may gain as well.

    Parameters
    ----------
    batch_norm
        Of what it may gain where batch normalisation is.
    """
    bound = PLAIN.bearable_decades(layers)
    return max(bound, BATCH_NORM_DECADES) if batch_norm else bound
