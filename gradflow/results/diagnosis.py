"""Result of ``diagnose``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from gradflow.results.base import (
    HARD_FOR_SGD,
    WITH_SGD,
    Facts,
    Result,
    Row,
    column,
    raise_for,
    rows_of,
)
from gradflow.results.facts import BatchFacts
from gradflow.results.names import told


@dataclass(frozen=True)
class LayerRow(Row):
    """One layer: its weight gradient, its δ, its activation.

    ``gradient_*`` are of the mean loss over the batch with respect to the layer's weight.
    δ = ∂C/∂z is each example's own. Over several seeds every value is the median.
    ``underflow_fraction`` and ``delta_underflow_fraction``, with half precision: of the entries of
    the weight gradient, and of the batch's δ as it is backpropagated, that are not 0 in float32,
    the share that is 0 there.
    ``token_spread``, of outputs of (examples, tokens, features): the share of their mean square
    that differs between the tokens of an example.
    Where attention is computed of the layer's output: ``attention_entropy`` is the entropy of its
    weights as a share of the largest, a mean over heads and queries, and ``attention_saturated``
    the share of the queries at which the softmax has less than 1 % of its largest slope.
    """

    summarized: ClassVar[str | None] = "delta_log10_rms"

    index: int = column("#")
    name: str = column("layer", "name")
    kind: str = column("kind", priority=None)
    gradient_norm: float | None = column("‖∂C/∂W‖", ".2e", priority=1, logarithm=True)
    gradient_log10_norm: float | None = column("log₁₀‖∂C/∂W‖", ".2f", priority=None)
    gradient_rms: float | None = column("rms g", ".2e", priority=8, logarithm=True)
    gradient_mean_abs: float | None = column("mean |g|", ".2e", priority=9, logarithm=True)
    gradient_max_abs: float | None = column("max |g|", ".2e", priority=9, logarithm=True)
    bias_gradient_norm: float | None = column("‖∂C/∂b‖", ".2e", priority=7, logarithm=True)
    delta_log10_rms: float | None = column("log₁₀ δ", "bar")
    predicted_delta_log10_rms: float | None = column("theory", ".2f", priority=2)
    activation_mean: float | None = column("mean a", ".3g", priority=4, logarithm=True)
    activation_variance: float | None = column("var a", ".3g", priority=5, logarithm=True)
    zero_fraction: float | None = column("zero", ".0%", priority=5)
    dead_fraction: float | None = column("dead", ".0%", priority=2)
    saturated_fraction: float | None = column("satur.", ".0%", priority=2)
    update_ratio: float | None = column("update", ".1e", priority=4, logarithm=True)
    bias_gradient_norm_low: float | None = column("‖∂C/∂b‖ 5 %", ".2e", None, default=None)
    bias_gradient_norm_high: float | None = column("‖∂C/∂b‖ 95 %", ".2e", None, default=None)
    predicted_delta_log10_rms_low: float | None = column("theory 5 %", ".2f", None, default=None)
    predicted_delta_log10_rms_high: float | None = column("theory 95 %", ".2f", None, default=None)
    example_spread: float | None = column("spread", ".0%", priority=3, default=None)
    activation_log10_rms: float | None = column("log₁₀ a", ".2f", priority=3, default=None)
    forward_nonfinite: int | None = column("non-finite a", "d", None, default=None)
    backward_nonfinite: int | None = column("non-finite δ", "d", None, default=None)
    delta_log10_rms_low: float | None = column("log₁₀ δ 5 %", ".2f", None, default=None)
    delta_log10_rms_high: float | None = column("log₁₀ δ 95 %", ".2f", None, default=None)
    underflow_fraction: float | None = column("lost g", ".1%", 1, default=None)
    delta_underflow_fraction: float | None = column("lost δ", ".1%", 1, default=None)
    token_spread: float | None = column("tokens", ".0%", None, default=None)
    attention_entropy: float | None = column("entropy", ".0%", None, default=None)
    attention_saturated: float | None = column("att. satur.", ".0%", None, default=None)


@dataclass(frozen=True)
class RemedyRow(Row):
    """One change, what was measured after it, and what a short training made of it.

    ``decades`` is the larger of what δ loses or gains and of what the difference between examples
    loses over the hidden layers, in powers of ten of amplitude. ``trained_loss`` is the lowest loss
    that the same short training reached over a small grid, with ``optimizer`` at
    ``learning_rate``, after ``steps``: fewer where it was among the worse half early on.
    ``options`` make the change of a built-in network, the lines in ``torch`` of the module `model`.
    """

    remedy: str = column("remedy")
    verdict: str = column("verdict")
    rate: float | None = column("rate", ".3g")
    decades: float = column("decades", ".1f")
    trained_loss: float | None = column("loss", ".3g", default=None)
    optimizer: str | None = column("by", priority=2, default=None)
    learning_rate: float | None = column("at", "g", priority=2, default=None)
    steps: int | None = column("steps", "d", priority=1, varied=True, default=None)
    options: str = column("options", default="")
    torch: str = column("torch", priority=None, default="")


@dataclass(frozen=True)
class InputStepRow(Row):
    """One time step of an `nn.RNN`, `nn.LSTM` or `nn.GRU`, and the gradient of what it takes in."""

    layer: str = column("layer")
    step: int = column("step")
    input_delta_log10_rms: float = column("log₁₀ ∂C/∂x", ".2f")


@dataclass(frozen=True)
class Recurrence:
    """The time steps of an `nn.RNN`, `nn.LSTM` or `nn.GRU`.

    Attributes
    ----------
    name
        The layer's.
    layers
        Its rows.
    input_delta_log10_rms
        log₁₀ of the root mean square of ∂C/∂x at every time step.
    rate
        The factor by which that changes per step back.
    saturated
        Share of each gate's entries on a plateau (of a forget or update gate, of those near 0), by
        the gate's name.
    """

    name: str
    layers: tuple[int, ...]
    input_delta_log10_rms: tuple[float, ...]
    rate: float | None
    saturated: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class RateInUse:
    """The learning rate that somebody trains with, and the optimizer that it is for.

    Attributes
    ----------
    optimizer
        Name of its class; None: it is not known.
    momentum
        Of gradient descent; None: it is not known.
    """

    rate: float
    optimizer: str | None = None
    momentum: float | None = None


@dataclass(frozen=True)
class DiagnosisFacts(Facts):
    """How a network was measured.

    Attributes
    ----------
    width
        Units of every hidden layer of a plain stack of layers; None for any other network.
    compiled
        Whether the model goes through torch.compile.
    lazy
        Whether it had no shapes before, so that a copy of it was measured.
    unreached
        Layers that could be trained and that no gradient reaches.
    shared
        Groups of layers with one and the same weight.
    widened
        Layers whose magnitudes are float64's, since their own dtype loses them.
    not_widened
        Layers whose δ is 0 or leaves their own dtype, where float64 could not be measured.
    no_float64
        Why not.
    no_float32
        Why a half-precision model could not be compared with its float32 copy.
    span
        Over how many layers the rate reaches: from the first to the last of one role.
    whole_rate
        The rate of the norm of δ where layers differ in how many entries it has; None: the rate is.
    small_gains
        Rows of small parameters beside layers that get a full gradient, as a layer scale does.
    examples
        In the batch.
    same_inputs
        Whether all of them are equal.
    example_loss
        The mean of their losses.
    batch_norm
        Whether a part of the network normalises over the batch.
    zero_layers
        Layers all of whose weights are 0.
    zero_weights
        Names of weights all of whose entries are 0 and which have a gradient.
    started
        Layers at which something is 0 (a gradient, every slope, the difference between examples)
        that no longer is after one step of those weights.
    recurrences
        The time steps of torch's own recurrent layers.
    half
        The half-precision dtype of the model's parameters, where they have one.
    repeated
        Layers that were called more than once, with how often.
    uncovered
        Modules and parameters that could be trained and are in no row: no gradient reaches them.
    uncovered_share
        Their share of all trained entries.
    scripted
        Whether the model, or a part of it, is a script, whose layers cannot be looked into.
    batch
        What was seen of a user's batch and loss.
    optimizer
        Name of the optimizer that the verdict is for; None: any.
    rate
        The learning rate in use, for which the update ratios are; None: none was named.
    sizes
        Of what is trained, of one network: the norm of all weights, and how many entries they have.
    given_scale
        By which gradients of the loss as it is trained on are those of its mean multiplied.
    """

    width: int | None = None
    compiled: bool = False
    lazy: bool = False
    unreached: tuple[int, ...] = ()
    shared: tuple[tuple[int, ...], ...] = ()
    widened: tuple[int, ...] = ()
    not_widened: tuple[int, ...] = ()
    no_float64: str | None = None
    no_float32: str | None = None
    span: int | None = None
    whole_rate: float | None = None
    small_gains: tuple[int, ...] = ()
    examples: int | None = None
    same_inputs: bool = False
    example_loss: float | None = None
    batch_norm: bool = False
    zero_layers: tuple[int, ...] = ()
    zero_weights: tuple[str, ...] = ()
    started: tuple[int, ...] = ()
    recurrences: tuple[Recurrence, ...] = ()
    half: str | None = None
    repeated: tuple[tuple[int, int], ...] = ()
    uncovered: tuple[str, ...] = ()
    uncovered_share: float = 0.0
    scripted: bool = False
    batch: BatchFacts | None = None
    optimizer: str | None = None
    rate: RateInUse | None = None
    sizes: tuple[float, int] | None = None
    given_scale: float = 1.0


#: What a verdict rests on where δ is known at fewer than two hidden layers.
_WITHOUT_RATE = "gradients, units and updates; too few hidden layers for a rate"


@dataclass(frozen=True, kw_only=True)
class DiagnosisResult(Result):
    """Gradient flow through a network at one set of weights.

    Attributes
    ----------
    verdict
        ``healthy``, ``unjudged``, or the code of the first error: ``vanishing``, ``dead``, …
    rate
        Factor by which δ's rms changes per layer going backwards, fitted over the hidden layers.
    rate_low, rate_high
        Its 95 % interval over seeds.
    spectral_radius, rate_bound
        Of a recurrent network: the spectral radius of its recurrent matrix (the largest of its
        gates'), and σ_max·max|φ′|, above which no step back can multiply the gradient (Pascanu et
        al. 2013, plain cells).
    suggested_loss_scale
        With half precision: the smallest power of two that brings 99.9 % of the entries into
        range; None where there is none.
    step_rate, time_steps
        With torch's own recurrent layers: the factor by which ∂C/∂x changes per time step going
        backwards, of the layer where it is furthest from 1; and that gradient at every step.
    hidden
        How many of the rows, from the first, are hidden layers; the one after them is the output.
        What follows are parameters that belong to no layer.
    untreated_loss, trial_steps
        What the training that each remedy got made of the network as it is, and its steps; None
        where nothing was trained.
    trial_note
        Which remedies were not tried, and why.
    """

    command: ClassVar[str] = "diagnose"
    row_type: ClassVar[type[Row]] = LayerRow

    facts: DiagnosisFacts = field(default=DiagnosisFacts(), repr=False, compare=False)
    verdict: str = "healthy"
    rate: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    predicted_rate: float | None = None
    loss: float | None = None
    hidden: int = 0
    activation: str | None = None
    spectral_radius: float | None = None
    rate_bound: float | None = None
    suggested_loss_scale: float | None = None
    step_rate: float | None = None
    time_steps: tuple[InputStepRow, ...] = rows_of(InputStepRow)
    remedies: tuple[RemedyRow, ...] = rows_of(RemedyRow)
    untreated_loss: float | None = None
    trial_steps: int | None = None
    trial_note: str | None = None

    @property
    def layers(self) -> tuple[LayerRow, ...]:
        """The rows of the hidden layers and of the output."""
        return tuple(self.records[: self.hidden + 1])

    @property
    def output(self) -> LayerRow:
        """The row of the last layer."""
        row: LayerRow = self.records[min(self.hidden, len(self.records) - 1)]
        return row

    @property
    def title(self) -> str:
        """Say the verdict and what each layer back does to the gradient."""
        return f"{self.verdict.capitalize()}: {self._flow()}{self._reserve()}"

    def _reserve(self) -> str:
        """Return for whom what is called healthy is not."""
        hard = any(found.message.endswith(WITH_SGD) for found in self.findings)
        return HARD_FOR_SGD if hard and self.verdict == "healthy" else ""

    def assert_healthy(self, *codes: str) -> None:
        """Raise an `AssertionError` that lists the findings, if there is one of `codes`.

        Parameters
        ----------
        codes
            Of findings; none: every one that makes a network unhealthy. That a network could not
            be judged is one always.

        Raises
        ------
        GradflowError
            For a code that does not exist.
        """
        raise_for(self, codes, always=("unjudged",))

    def _flow(self) -> str:
        if self.verdict == "broken":
            first = next((told(r) for r in self.records if r.forward_nonfinite), None)
            where = "a value is not finite" if first is None else f"not finite from {first} on"
            return where if self.rate is None else f"{where}; {self._rate()}"
        if self.verdict == "dead":
            return "units that never fire stop the gradient"
        if self.verdict == "no-gradient":
            return "the gradient is exactly 0"
        if self.verdict == "unjudged":
            return "δ was read at no layer"
        if self.rate is None and self.step_rate is None:
            return _WITHOUT_RATE
        return self._rate()

    def _rate(self) -> str:
        recurrent = self.spectral_radius is not None or self.rate is None
        rate = self.step_rate if self.rate is None else self.rate
        assert rate is not None
        return _rate_words(rate, "step" if recurrent else "layer")


def _rate_words(rate: float, step: str) -> str:
    """Say what a rate does to the gradient."""
    if rate <= 0.995:
        return f"each {step} back keeps {100 * rate:.3g} % of the gradient"
    if rate >= 1.005:
        return f"each {step} back multiplies the gradient by {rate:.3g}"
    return f"every {step} passes the gradient on unchanged"


@dataclass(frozen=True)
class ExpectedFlow:
    """What theory says of a network before it is measured.

    Attributes
    ----------
    rate
        Factor by which δ's rms changes per layer going backwards.
    depth, step
        How many layers or steps there are, and which it is.
    """

    rate: float
    depth: int
    step: str

    @property
    def title(self) -> str:
        """Say what each layer back does to the gradient, and all of them together."""
        words = _rate_words(self.rate, self.step)
        decades = abs(self.depth * math.log10(self.rate))
        return f"Theory: {words}" + (f", {decades:.1f} decades in all" if decades >= 0.05 else "")
