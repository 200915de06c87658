"""Result of ``sweep``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from gradflow.results.base import Facts, Result, Row, column, rows_of


@dataclass(frozen=True)
class SweepRow(Row):
    """One point: networks of one setting, a network per seed.

    Attributes
    ----------
    gradient_log10
        log₁₀ of δ's rms in the first hidden layer, relative to the last hidden layer's; the median
        over the seeds. ``_low``, ``_high``: the least and the largest.
    predicted_gradient_log10
        The same of an infinitely wide network (`gradflow theory`).
    rate, verdict
        As ``diagnose`` gives them.
    accuracy, learning_rate
        With ``--train``: the best test accuracy over a few rates of SGD, and at which it was.
    """

    activation: str = column("activation", varied=True)
    width: int = column("width", varied=True)
    bias_variance: float = column("σ_b²", "g", varied=True)
    depth: int = column("depth")
    weight_variance: float = column("σ_w²", "g")
    gradient_log10: float | None = column("log₁₀ δ₁/δ_L", ".2f")
    predicted_gradient_log10: float | None = column("theory", ".2f")
    verdict: str = column("verdict")
    accuracy: float | None = column("accuracy", ".1%", default=None)
    learning_rate: float | None = column("at rate", "g", 1, default=None)
    rate: float | None = column("rate", ".3g", 1, default=None)
    gradient_log10_low: float | None = column("lowest", ".2f", 2, default=None)
    gradient_log10_high: float | None = column("highest", ".2f", 2, default=None)

    @property
    def map(self) -> tuple[str, int, float]:
        """What is the same in all of one map over depth and weight variance."""
        return self.activation, self.width, self.bias_variance


@dataclass(frozen=True)
class ColumnRow(Row):
    """All depths at one σ_w².

    Attributes
    ----------
    healthy_to
        The largest depth up to which every network is healthy; None: not even the shallowest is.
    trainable_to
        About 6 ξ of theory, to which networks train (Schoenholz et al. 2017, section 5).
    trained_to
        With ``--train``: the largest depth up to which every network learnt to tell more than half
        of the test images; None: not even the shallowest did.
    deepest, gradient_log10, predicted_gradient_log10, verdict
        Of the deepest network: its depth, and what its row says.
    """

    activation: str = column("activation", varied=True)
    width: int = column("width", varied=True)
    bias_variance: float = column("σ_b²", "g", varied=True)
    weight_variance: float = column("σ_w²", "g")
    healthy_to: int | None = column("healthy to")
    trained_to: int | None = column("trained to")
    trainable_to: float | None = column("6 ξ", ".3g")
    deepest: int = column("deepest")
    gradient_log10: float | None = column("log₁₀ δ₁/δ_L", ".2f")
    predicted_gradient_log10: float | None = column("theory", ".2f")
    verdict: str = column("verdict")


@dataclass(frozen=True)
class ScaleRow(Row):
    """How far theory lets a signal come, at one σ_w².

    ``depth_scale`` is ξ: over so many layers the correlation of two inputs comes nearer to its
    fixed point by a factor e; networks train to a depth of about 6 ξ (Schoenholz et al. 2017).
    """

    activation: str = column("activation")
    bias_variance: float = column("σ_b²", "g")
    weight_variance: float = column("σ_w²", ".4g")
    depth_scale: float = column("ξ", ".4g")

    @property
    def trainable_to(self) -> float:
        """The depth to which networks train there."""
        return 6 * self.depth_scale


_EDGE = "the edge of chaos is at σ_w² = "


@dataclass(frozen=True)
class EdgeOfChaosRow(Row):
    """Where order becomes chaos: χ = 1."""

    activation: str = column("activation")
    bias_variance: float = column("σ_b²", "g")
    weight_variance: float | None = column("σ_w²", ".6g")

    @property
    def title(self) -> str | None:
        """Say where it is; None where there is none."""
        if self.weight_variance is None:
            return None
        biases = f" with σ_b² = {self.bias_variance:g}" if self.bias_variance else ""
        where = f"{_EDGE}{self.weight_variance:.4g}"
        return f"Theory: {where} for {self.activation}{biases}"


@dataclass(frozen=True)
class SweepFacts(Facts):
    """What was wanted of a sweep, and what became of it.

    Attributes
    ----------
    wanted
        Points.
    failed
        Shapes (depth and width) whose measurement failed, and why.
    """

    wanted: int = 0
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SweepResult(Result):
    """Gradients over a grid of networks.

    Attributes
    ----------
    summary
        A row per σ_w².
    scales
        ξ of theory over the range of σ_w², for the figure.
    edges
        The edge of chaos of every activation and σ_b².
    """

    command: ClassVar[str] = "sweep"
    row_type: ClassVar[type[Row]] = SweepRow

    facts: SweepFacts = field(default=SweepFacts(), repr=False, compare=False)
    summary: tuple[ColumnRow, ...] = rows_of(ColumnRow)
    scales: tuple[ScaleRow, ...] = rows_of(ScaleRow)
    edges: tuple[EdgeOfChaosRow, ...] = rows_of(EdgeOfChaosRow)

    @property
    def title(self) -> str:
        """Say what share of the points is healthy, and where the gradient is kept best."""
        if not self.records:
            return "nothing was measured"
        healthy = [row for row in self.records if row.verdict == "healthy"]
        said = f"{_acts(self.records)}: {len(healthy)} of {len(self.records)} points are healthy"
        others = Counter(row.verdict for row in self.records if row.verdict != "healthy")
        if others:
            said += "; " + ", ".join(
                f"{count} {verdict}" for verdict, count in others.most_common()
            )
        edge = self._edge()
        return said if edge is None else f"{said}; {_EDGE}{edge:.4g}"

    def _edge(self) -> float | None:
        """The one edge of chaos that there is, if there is but one."""
        known = {e.weight_variance for e in self.edges}
        return known.pop() if len(known) == 1 else None


def _acts(rows: tuple[SweepRow, ...]) -> str:
    return ", ".join(dict.fromkeys(row.activation for row in rows))
