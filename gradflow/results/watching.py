"""Result of ``gradflow.watch``: what happened in every layer while a model trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from gradflow.results.base import (
    Facts,
    Finding,
    Result,
    Row,
    column,
    raise_for,
    rows_of,
)
from gradflow.results.facts import BatchFacts, RefusedFacts


@dataclass(frozen=True)
class WatchRow(Row):
    """One layer: medians over the recorded steps, unless they say first or last.

    ``update_ratio`` is ‖Δw‖/‖w‖ of the step that the optimizer took. ``delta_log10_rms`` is of
    ∂C/∂z as it is backpropagated: of the mean loss, if that is what is trained.
    ``attention_entropy`` and ``attention_saturated`` are those of the first batch that was learnt
    from, as `gradflow.diagnose` gives them.
    """

    summarized: ClassVar[str | None] = "gradient_log10_norm"

    index: int = column("#")
    name: str = column("layer", "name")
    kind: str = column("kind", priority=None)
    gradient_log10_norm: float | None = column("log₁₀‖g‖", "bar")
    gradient_log10_first: float | None = column("first", ".2f", priority=3)
    gradient_log10_last: float | None = column("last", ".2f", priority=3)
    update_ratio: float | None = column("update", ".1e", priority=2)
    weight_norm: float | None = column("‖w‖", ".3g", priority=5)
    delta_log10_rms: float | None = column("log₁₀ δ", ".2f", priority=4)
    dead_fraction: float | None = column("dead", ".0%", priority=2)
    zero_fraction: float | None = column("zero", ".0%", priority=6)
    activation_mean: float | None = column("mean a", ".3g", priority=7)
    activation_rms: float | None = column("rms a", ".3g", priority=7)
    attention_entropy: float | None = column("entropy", ".0%", None, default=None)
    attention_saturated: float | None = column("att. satur.", ".0%", None, default=None)


@dataclass(frozen=True)
class WatchHistoryRow(Row):
    """One layer at one recorded step."""

    step: int = column("step")
    index: int = column("#")
    gradient_log10_norm: float | None = column("log₁₀‖g‖", ".2f")
    clipped_log10_norm: float | None = column("clipped", ".2f")
    update_ratio: float | None = column("update", ".1e")
    weight_norm: float | None = column("‖w‖", ".3g")
    delta_log10_rms: float | None = column("log₁₀ δ", ".2f")
    dead_fraction: float | None = column("dead", ".0%")
    zero_fraction: float | None = column("zero", ".0%")
    activation_mean: float | None = column("mean a", ".3g")
    activation_rms: float | None = column("rms a", ".3g")


@dataclass(frozen=True)
class WatchStepRow(Row):
    """One recorded step: the norm of the whole gradient before and after the loop's clipping."""

    step: int = column("step")
    norm_before: float | None = column("‖g‖", ".4g")
    norm_after: float | None = column("clipped", ".4g")
    clipped: bool = column("cut")
    loss: float | None = column("loss", ".4g", default=None)
    learning_rate: float | None = column("rate", ".3g", default=None)


@dataclass(frozen=True)
class OptimizerFacts:
    """An optimizer's settings, as its first group had them at the first recorded step.

    Attributes
    ----------
    kind
        Its class.
    momentum
        Of SGD, or the first β of Adam.
    weight_decay
        The largest of all groups.
    decoupled
        Whether the decay acts on the weights alone, not through the gradient.
    eps
        Of Adam and its kind.
    maximize
        Whether it steps along the gradient, not against it.
    """

    kind: str
    momentum: float | None = None
    weight_decay: float | None = None
    decoupled: bool = False
    eps: float | None = None
    maximize: bool = False


@dataclass(frozen=True)
class ConflictFacts:
    """Examples that came again.

    Attributes
    ----------
    examples
        How many came more than once.
    share
        Of the times that one came again, with another target than before; of targets that are
        numbers, 1 less the correlation of the two.
    chance
        The same of targets drawn by chance.
    """

    examples: int
    share: float
    chance: float


@dataclass(frozen=True)
class NonFiniteFacts:
    """What was the first not to be finite.

    Attributes
    ----------
    what
        ``"inputs"``, ``"output"`` of a layer, ``"loss"``, ``"gradient"`` or ``"update"``.
    step
        At which.
    layers
        Numbers of the layers.
    loss
        The step's loss, finite or not.
    """

    what: str
    step: int
    layers: tuple[int, ...] = ()
    loss: float | None = None


@dataclass(frozen=True)
class SpreadFacts:
    """How much outputs differ between examples, over their rms, where the inputs differ.

    Attributes
    ----------
    first, last
        At the first sampled step, and the median of the last few.
    last_rms
        Of the outputs, then.
    """

    first: float
    last: float
    last_rms: float


@dataclass(frozen=True)
class WatchFacts(Facts):
    """How a model was watched.

    Attributes
    ----------
    compiled
        Whether it goes through torch.compile, so that its activations were not read.
    batch_norm
        Whether a part of it normalises over the batch.
    span
        Over how many layers the rate reaches: from the first to the last of one role.
    scripted
        Whether a part of it is a ScriptModule, which takes no hooks.
    evaluating
        Whether it only learnt in evaluation mode, though it has dropout or batch norm.
    transformed
        Whether it ran under torch.func, where nothing can be read.
    unread
        Why something else could not be read.
    meta
        Models of a program that train on the meta device, where nothing has values.
    found_scaler
        Whether gradients were unscaled by a GradScaler that watch was not told of.
    overflowed
        The row of the first layer that overflowed in a step that a GradScaler left out.
    batch, last_batch
        Facts of the first batch that the model learnt from, and of the latest that was read.
    lost_batch
        Of the first batch whose loss was not finite.
    optimizer
        That trains the model.
    unowned
        Parameters with a gradient that no optimizer stepped.
    unchanged
        Rows of layers that had a gradient and never changed.
    stale
        Share of the sampled steps whose gradients held those of the step before.
    moved
        Of each row the sum of all ‖Δw‖/‖w‖: an upper bound of how far its weight came.
    shrunk
        Of each row the last ‖w‖ over the first.
    first_nonfinite
        What was the first not to be finite.
    conflicts
        Examples that came again, with their targets.
    refused
        What a criterion was given that raised.
    spread
        Of the model's outputs over examples.
    inner_spread
        Of each row's inputs, as a share of their size, in the first batch and in the last one
        that was read; None where it is not known.
    """

    compiled: bool = False
    batch_norm: bool = False
    span: int | None = None
    scripted: bool = False
    evaluating: bool = False
    transformed: bool = False
    unread: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    found_scaler: bool = False
    overflowed: int | None = None
    batch: BatchFacts | None = None
    last_batch: BatchFacts | None = None
    lost_batch: BatchFacts | None = None
    optimizer: OptimizerFacts | None = None
    unowned: tuple[str, ...] = ()
    unchanged: tuple[int, ...] = ()
    stale: float | None = None
    moved: tuple[float | None, ...] = ()
    shrunk: tuple[float | None, ...] = ()
    first_nonfinite: NonFiniteFacts | None = None
    conflicts: ConflictFacts | None = None
    refused: RefusedFacts | None = None
    spread: SpreadFacts | None = None
    inner_spread: tuple[tuple[float, float] | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WatchedModel(Row):
    """One of the models that a watched program trains: a section of its result.

    Attributes
    ----------
    optimizer
        Names of the classes of the optimizers that trained it.
    seen
        Steps that they took.
    """

    name: str
    verdict: str
    optimizer: str
    title: str
    seen: int
    rows: tuple[WatchRow, ...] = ()
    steps: tuple[WatchStepRow, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WatchResult(Result):
    """Gradient flow through a model while it trained.

    Attributes
    ----------
    verdict
        As of a diagnosis, taken from δ over the recorded steps; ``unjudged`` where δ was not read.
    rate
        Factor by which δ's rms changes per layer going backwards, the median over the steps.
    first_rate
        The same at the first recorded step, which `diagnose` would give of that batch.
    seen, every
        Steps that were taken, and every which of them was recorded.
    clip_rate
        Share of the recorded steps in which clipping made the gradient smaller.
    clip_factor
        By what the norm was multiplied in those, at the median.
    skipped
        Steps that a GradScaler left out.
    models
        Of a program (`watch_script`): one section for each model that an optimizer trains. Of
        several, the rows, the history and the findings above are those of all, in this order;
        steps, rates and counts are those of the one with most trained entries.
    script_exit_code
        Of a program: what it exited with; None where it was ended by ``--steps`` or Ctrl-C.
    """

    command: ClassVar[str] = "watch"
    row_type: ClassVar[type[Row]] = WatchRow

    facts: WatchFacts = field(default=WatchFacts(), repr=False, compare=False)
    verdict: str = "healthy"
    rate: float | None = None
    first_rate: float | None = None
    seen: int = 0
    every: int = 1
    clip_rate: float | None = None
    clip_factor: float | None = None
    skipped: int = 0
    history: tuple[WatchHistoryRow, ...] = rows_of(WatchHistoryRow)
    steps: tuple[WatchStepRow, ...] = rows_of(WatchStepRow)
    models: tuple[WatchedModel, ...] = rows_of(WatchedModel)
    script_exit_code: int | None = None

    @property
    def title(self) -> str:
        """Say the verdict, and of a run that clips how often it did and by how much."""
        if len(self.models) > 1:
            return "; ".join(f"{m.name}: {m.verdict}, {m.seen} steps" for m in self.models)
        steps = f"{self.seen} step{'' if self.seen == 1 else 's'}"
        if not self.steps:
            return f"Nothing was recorded in {steps}"
        return f"{self.verdict.capitalize()} over {steps}{self._clipping()}"

    def _clipping(self) -> str:
        if not self.clip_rate:
            return ""
        cut = f" to {self.clip_factor:.2g} of the norm" if self.clip_factor is not None else ""
        return f": clipping engaged in {self.clip_rate:.0%} of them, cutting{cut}"

    @property
    def of_the_program(self) -> tuple[Finding, ...]:
        """The findings that are of no model by itself."""
        if len(self.models) < 2:
            return self.findings
        return self.findings[sum(len(model.findings) for model in self.models) :]

    def assert_healthy(self, *codes: str) -> None:
        """Raise an `AssertionError` that lists the findings, if there is one of `codes`.

        Parameters
        ----------
        codes
            Of findings; none: every one that makes a run unhealthy. That nothing was recorded, or
            that nothing could be judged, is one always.

        Raises
        ------
        GradflowError
            For a code that does not exist.
        """
        raise_for(self, codes, always=("unrecorded", "unjudged"))

    def to_tensorboard(self, folder: str | Path) -> Path:
        """Write the history as scalars for TensorBoard (``pip install tensorboard``).

        Raises
        ------
        GradflowError
            If tensorboard is not installed.
        """
        written: Path = Result.views().tensorboard(self, folder)
        return written
