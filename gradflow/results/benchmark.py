"""Results of ``benchmark``: what was trained, epoch by epoch, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gradflow.results.base import Facts, Result, Row, column, rows_of

DEFAULT_DROPOUT, DEFAULT_CLIP = "0.25/0.5", "value 0.5"
#: Settings that a title has room for.
_MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Setting(Row):
    """What one training run is made with; all else is the same for all runs of a benchmark.

    Attributes
    ----------
    source
        The folder of a stored run that was read back; empty for a run of now.
    dropout
        ``P/Q``: the share of units dropped after the last but one and after the last hidden layer.
    clip
        ``value X``, ``norm X`` or ``none``.
    """

    source: str = column("run", varied=True, default="")
    activation: str = column("activation", default="relu")
    arch: str = column("arch", varied=True, default="cnn")
    init: str = column("init", varied=True, default="keras")
    optimizer: str = column("optimizer", varied=True, default="adam")
    lr: float = column("lr", ".4g", varied=True, default=1e-3)
    batch_size: int = column("batch", "d", varied=True, default=128)
    dropout: str = column("dropout", varied=True, default=DEFAULT_DROPOUT)
    clip: str = column("clip", varied=True, default=DEFAULT_CLIP)

    @property
    def setting(self) -> Setting:
        """The setting alone, of whatever row this is."""
        return Setting(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Setting)})

    def differing(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults.

        They stay the same where a later version has one field more.
        """
        values = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow(Setting):
    """One setting: means over the seeds that went furthest, with 95 % intervals (Student's t).

    Attributes
    ----------
    seeds
        Runs that the row is of.
    test_accuracy, test_loss
        Means at `best_epoch`.
    test_accuracy_std
        Sample standard deviation over seeds; None for one seed, as are the margins and `p_value`.
    test_accuracy_margin
        Half the width of the 95 % interval of the mean over seeds.
    difference, difference_margin
        Of the test accuracy to the reference's, seed by seed: mean, and half its 95 % interval.
    p_value
        Of the paired t-test of that difference, corrected for the number of comparisons (Holm
        1979).
    comparison
        ``reference``, ``better`` or ``worse`` (p below 0.05), ``equal`` (`p_value_equal` below
        0.05) or ``not told apart``, where there are too few seeds to say either. With one seed:
        against 1.96 standard errors of two proportions of the test images.
    p_value_equal
        Of the paired tests that the difference is below half a point, corrected in the same way.
    validation_accuracy
        At `best_epoch`; None where nothing was held out.
    best_epoch
        The epoch of the highest mean validation accuracy, the earliest of equals; without a
        validation set, the last one.
    seconds
        Training time of all its seeds and epochs, evaluation left out.
    images_per_second
        Training images by `seconds`.
    seconds_to_target
        Median over seeds of the training time to the end of the first epoch whose test accuracy
        reaches the target; None where most seeds never do.
    """

    seeds: int = column("seeds", "d", priority=3)
    test_accuracy: float = column("test acc.", ".2%")
    test_accuracy_margin: float | None = column("± 95 %", ".2%", priority=1, default=None)
    test_accuracy_std: float | None = column("std", ".2%", priority=6, default=None)
    difference: float | None = column("Δ ref.", "+.2%", priority=2, default=None)
    difference_margin: float | None = column("± 95 %", ".2%", priority=5, default=None)
    p_value: float | None = column("p", ".2g", priority=2, default=None)
    p_value_equal: float | None = column("p equal", ".2g", priority=6, default=None)
    comparison: str = column("verdict", default="")
    validation_accuracy: float | None = column("valid. acc.", ".2%", priority=7, default=None)
    test_loss: float = column("test loss", ".4f", priority=3)
    best_epoch: int = column("best epoch", "d", priority=4)
    seconds: float = column("seconds", ".1f", priority=6)
    images_per_second: float = column("images/s", ",.0f", priority=3)
    seconds_to_target: float | None = column("s to target", ".1f", priority=1, default=None)


@dataclass(frozen=True, kw_only=True)
class HistoryRow(Setting):
    """One epoch of one training run.

    Attributes
    ----------
    train_loss, train_accuracy
        Means over the epoch of what each batch had before its update, with dropout.
    validation_loss, validation_accuracy
        After the epoch, on the images held out of the training set; None where there are none.
    test_loss, test_accuracy
        After the epoch, on the whole test set, without dropout. Nothing is chosen by them.
    gradient_norm
        L2 norm of the whole gradient before clipping, mean over steps.
    seconds
        Training time, evaluation left out.
    """

    seed: int = column("seed", "d")
    epoch: int = column("epoch", "d")
    train_loss: float = column("train loss", ".4f")
    train_accuracy: float = column("train accuracy", ".2%")
    validation_loss: float | None = column("valid. loss", ".4f", default=None)
    validation_accuracy: float | None = column("valid. accuracy", ".2%", default=None)
    test_loss: float = column("test loss", ".4f")
    test_accuracy: float = column("test accuracy", ".2%")
    gradient_norm: float = column("‖g‖", ".3g")
    seconds: float = column("seconds", ".1f")


@dataclass(frozen=True, kw_only=True)
class FlowRow(Setting):
    """One layer in one epoch of one training run.

    Attributes
    ----------
    gradient_norm
        L2 norm of the gradient of weight and bias, before clipping: mean over the recorded steps.
    update_ratio
        ‖Δw‖/‖w‖ of what the optimiser did: mean over the recorded steps.
    activation_mean, activation_variance
        Of the layer's activations after the epoch, over some images that were not trained on.
    dead_fraction
        Units (channels of a convolution) whose slope was 0 for every one of these images.
    saturated_fraction
        Entries whose slope was below 1 % of the activation's largest.
    """

    seed: int = column("seed", "d")
    epoch: int = column("epoch", "d")
    index: int = column("#", "d")
    name: str = column("layer")
    gradient_norm: float = column("‖g‖", ".3g")
    update_ratio: float = column("‖Δw‖/‖w‖", ".2e")
    activation_mean: float | None = column("mean", ".3f", default=None)
    activation_variance: float | None = column("variance", ".3f", default=None)
    dead_fraction: float | None = column("dead", ".0%", default=None)
    saturated_fraction: float | None = column("satur.", ".0%", default=None)


@dataclass(frozen=True)
class BenchmarkFacts(Facts):
    """How a benchmark went.

    Attributes
    ----------
    wanted_epochs
        As many as all its runs were to train together.
    failed
        Runs that could not be trained to their end, and why.
    """

    wanted_epochs: int = 0
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Result):
    """Settings compared by training the same network with each.

    Attributes
    ----------
    aggregate_images_per_second
        Training images of all workers together by the wall clock, start-up and evaluation left
        out: by the training time of the worker that had most. None where nothing was trained.
    train_size, validation_size, test_size
        Numbers of images.
    epochs
        As many as were asked for; `history` holds those that were finished.
    target
        The test accuracy that `BenchmarkRow.seconds_to_target` is for.
    reference
        Label of the setting that the others are compared to.
    ties
        Labels of the settings that cannot be told from the best one.
    equals, equal_within
        Those of them that are shown to be as good as the best one, and to within what.
    """

    command: ClassVar[str] = "benchmark"
    row_type: ClassVar[type[Row]] = BenchmarkRow

    facts: BenchmarkFacts = field(default=BenchmarkFacts(), repr=False, compare=False)
    aggregate_images_per_second: float | None = None
    train_size: int = 0
    validation_size: int = 0
    test_size: int = 0
    epochs: int = 0
    target: float | None = None
    reference: str | None = None
    ties: tuple[str, ...] = ()
    equals: tuple[str, ...] = ()
    equal_within: float = 0.0
    history: tuple[HistoryRow, ...] = rows_of(HistoryRow)
    flow: tuple[FlowRow, ...] = rows_of(FlowRow)

    @property
    def note(self) -> str | None:
        """Say what each row is compared to, where there is more than one reference."""
        references = [row for row in self.records if row.comparison == "reference"]
        if len(references) < 2:
            return None
        columns = Setting.columns()
        same = [
            columns[name].label
            for name in columns
            if len({getattr(row, name) for row in references}) > 1
        ]
        return f"Δ ref. is against {self.reference} of the same {' and '.join(same)}"

    @property
    def title(self) -> str:
        """Say which setting is best, which cannot be told from it, and which is last."""
        if not self.records:
            return "No epoch was finished"
        names = labels(self.records)
        ranked = sorted(self.records, key=lambda row: -row.test_accuracy)
        best, last = ranked[0], ranked[-1]
        answer = f"{names[best.setting]} best: {percent(best)} test accuracy {self._after()}"
        if self.equals:
            answer += (
                f"; {', '.join(self.equals)} equal to within {100 * self.equal_within:g} points"
            )
        unsure = {*self.ties} - {*self.equals}
        gaps = [
            (names[row.setting], best.test_accuracy - row.test_accuracy)
            for row in ranked
            if names[row.setting] in unsure
        ]
        if gaps:
            answer += f"; not told apart by {seeds(best)}: {_behind(gaps)}"
        if last is not best and names[last.setting] not in self.ties:
            answer += f"; {names[last.setting]} last, {percent(last)}"
        return answer

    def _after(self) -> str:
        done = max((row.epoch for row in self.history), default=0)
        return f"after {done} epoch{'' if done == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class PlanRow(Setting):
    """One setting of a benchmark that was not started.

    Attributes
    ----------
    runs
        One for each seed, stored ones left out.
    steps
        Of one epoch.
    seconds_per_step
        Measured: the median of a few training steps, with as many others beside it as there will
        be workers.
    seconds
        Estimate for all its runs, evaluation included, by one worker.
    """

    runs: int = column("runs", "d")
    epochs: int = column("epochs", "d")
    steps: int = column("steps/epoch", ",d", priority=1)
    seconds_per_step: float = column("s/step", ".3g", priority=1)
    images_per_second: float = column("images/s", ",.0f", priority=2)
    seconds: float = column("seconds, all runs", ",.0f")


@dataclass(frozen=True, kw_only=True)
class PlanResult(Result):
    """What a benchmark would run, and how long it would take.

    Attributes
    ----------
    runs, workers
        Trainings, and how many go on side by side.
    seconds
        Estimate of the whole by the wall clock.
    """

    command: ClassVar[str] = "benchmark-plan"
    row_type: ClassVar[type[Row]] = PlanRow

    runs: int = 0
    workers: int = 1
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """Say how much there is to do, how long it will take, and what the rows sum to."""
        said = (
            f"{self.runs} run{'s' if self.runs != 1 else ''} on {self.workers} "
            f"worker{'s' if self.workers != 1 else ''}: about {duration(self.seconds)}"
        )
        if self.workers == 1:
            return said
        work = duration(sum(row.seconds for row in self.records))
        return f"{said} (the rows sum to {work}, for one worker)"


def labels(rows: Iterable[Setting]) -> Mapping[Setting, str]:
    """Return for each setting among the rows the words that tell it from the others.

    That is the activation, or what else varies: ``relu``, ``relu, lr 0.01``.
    """
    settings = list(dict.fromkeys(row.setting for row in rows))
    columns = Setting.columns()
    varied = [n for n in columns if len({getattr(s, n) for s in settings}) > 1]
    shown = varied or ["activation"]
    return {
        s: ", ".join(_word(columns[n].label, n, getattr(s, n)) for n in shown) for s in settings
    }


def _word(label: str, name: str, value: Any) -> str:
    if name in ("source", "activation", "arch", "optimizer"):
        return str(value)
    return f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}"


def seeds(row: BenchmarkRow) -> str:
    """Return how many seeds a row is of, in words."""
    return f"{row.seeds} seeds" if row.seeds > 1 else "one seed"


def points(difference: float) -> str:
    """Return a difference of shares in words: ``0.04 points``."""
    return f"{100 * difference:.2f} points"


def _behind(gaps: Sequence[tuple[str, float]]) -> str:
    """Say how far settings lie behind the best, which come first; many in short."""
    shown = gaps if len(gaps) <= _MOST_NAMED else gaps[: _MOST_NAMED - 1]
    (first, gap), *others = shown
    said = [f"{first} ({points(gap)} lower)", *(f"{n} ({100 * gap:.2f})" for n, gap in others)]
    if len(shown) < len(gaps):
        said.append(f"and {len(gaps) - len(shown)} more (up to {100 * gaps[-1][1]:.2f})")
    return ", ".join(said)


def percent(row: BenchmarkRow) -> str:
    """Return the row's test accuracy in words."""
    return f"{100 * row.test_accuracy:.1f} %"


def duration(seconds: float) -> str:
    """Return a time in words: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
