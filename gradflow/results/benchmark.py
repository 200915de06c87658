"""Result of ``benchmark``."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gradflow.results.base import Finding, Result, Row, column, rows_of

_BEHIND = 0.02  # of accuracy: what is further from the best is worth a finding


@dataclass(frozen=True)
class BenchmarkRow(Row):
    """One activation: means over the seeds that went furthest.

    Attributes
    ----------
    test_accuracy, test_accuracy_std
        At the last epoch: mean, and sample standard deviation over seeds (None for one seed).
    test_loss
        Mean cross-entropy at the last epoch.
    best_epoch
        The epoch of the lowest mean test loss. Nothing was selected by it: stopping there would
        be choosing on the test set.
    seconds
        Training time of all its seeds and epochs, evaluation left out.
    images_per_second
        Training images by `seconds`.
    """

    activation: str = column("activation")
    seeds: int = column("seeds", "d", priority=3)
    test_accuracy: float = column("test accuracy", ".2%")
    test_accuracy_std: float | None = column("±", ".2%", priority=1)
    test_loss: float = column("test loss", ".4f")
    best_epoch: int = column("best epoch", "d", priority=2)
    seconds: float = column("seconds", ".1f", priority=4)
    images_per_second: float = column("images/s", ",.0f", priority=1)

    def standard_error(self, test_size: int) -> float:
        """Return that of `test_accuracy`: the spread over seeds, or a fair coin's over images."""
        p = self.test_accuracy
        variance = max((self.test_accuracy_std or 0.0) ** 2, p * (1 - p) / max(test_size, 1))
        return math.sqrt(variance / self.seeds)


@dataclass(frozen=True)
class HistoryRow(Row):
    """One epoch of one training run.

    Attributes
    ----------
    train_loss, train_accuracy
        Means over the epoch of what each batch had before its update, with dropout.
    test_loss, test_accuracy
        After the epoch, on the whole test set, without dropout.
    gradient_norm
        L2 norm of the whole gradient before clipping, mean over steps.
    seconds
        Training time, evaluation left out.
    """

    activation: str = column("activation")
    seed: int = column("seed", "d")
    epoch: int = column("epoch", "d")
    train_loss: float = column("train loss", ".4f")
    train_accuracy: float = column("train accuracy", ".2%")
    test_loss: float = column("test loss", ".4f")
    test_accuracy: float = column("test accuracy", ".2%")
    gradient_norm: float = column("‖g‖", ".3g")
    seconds: float = column("seconds", ".1f")


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Result):
    """Activations compared on the article's network.

    Attributes
    ----------
    aggregate_images_per_second
        Training images of all workers together by the wall clock, start-up and evaluation left
        out: by the training time of the worker that had most. None where nothing was trained.
    train_size, test_size
        Numbers of images.
    epochs
        As many as were asked for; `history` holds those that were finished.
    """

    command: ClassVar[str] = "benchmark"
    row_type: ClassVar[type[Row]] = BenchmarkRow

    aggregate_images_per_second: float | None = None
    train_size: int = 0
    test_size: int = 0
    epochs: int = 0
    history: tuple[HistoryRow, ...] = rows_of(HistoryRow)

    @property
    def title(self) -> str:
        """Say which activation is best, which cannot be told from it, and which is last."""
        if not self.records:
            return "No epoch was finished"
        ranked = ranking(self.records)
        best, last = ranked[0], ranked[-1]
        answer = f"{best.activation} best: {_percent(best)} test accuracy {self._after()}"
        tied = [row for row in ranked[1:] if self.within_noise(best, row)]
        if tied:
            names = ", ".join(row.activation for row in tied)
            answer += f", {names} within noise"
        if last is not best and last not in tied:
            answer += f"; {last.activation} last, {_percent(last)}"
        return answer

    def _after(self) -> str:
        done = max(row.epoch for row in self.history)
        return f"after {done} epoch{'s' if done > 1 else ''}"

    def within_noise(self, a: BenchmarkRow, b: BenchmarkRow) -> bool:
        """Whether two accuracies differ by less than 1.96 standard errors of the difference."""
        error = math.hypot(a.standard_error(self.test_size), b.standard_error(self.test_size))
        return abs(a.test_accuracy - b.test_accuracy) < 1.96 * error


def summarize(
    history: Iterable[HistoryRow], activations: Iterable[str], train_size: int
) -> tuple[BenchmarkRow, ...]:
    """Return a row for each of the activations that has a finished epoch, in their order."""
    runs: dict[str, list[HistoryRow]] = {name: [] for name in activations}
    for row in history:
        runs[row.activation].append(row)
    return tuple(_summary(name, rows, train_size) for name, rows in runs.items() if rows)


def _summary(name: str, rows: list[HistoryRow], train_size: int) -> BenchmarkRow:
    by_epoch: dict[int, list[HistoryRow]] = defaultdict(list)
    for row in rows:
        by_epoch[row.epoch].append(row)
    last = by_epoch[max(by_epoch)]
    losses = {epoch: _mean(r.test_loss for r in by_epoch[epoch]) for epoch in sorted(by_epoch)}
    accuracies = [row.test_accuracy for row in last]
    seconds = math.fsum(row.seconds for row in rows)
    return BenchmarkRow(
        activation=name,
        seeds=len(last),
        test_accuracy=_mean(accuracies),
        test_accuracy_std=statistics.stdev(accuracies) if len(last) > 1 else None,
        test_loss=losses[max(losses)],
        best_epoch=min(losses, key=lambda e: math.inf if math.isnan(losses[e]) else losses[e]),
        seconds=seconds,
        images_per_second=train_size * len(rows) / seconds,
    )


def findings(
    records: tuple[BenchmarkRow, ...],
    history: Sequence[HistoryRow],
    wanted: int | None,
) -> Iterator[Finding]:
    """Yield what a reader of the table should know.

    Parameters
    ----------
    wanted
        Number of epochs that were to be trained, where Ctrl-C came first; else None.
    """
    if wanted is not None:
        yield Finding(
            "interrupted", "warning", (),
            f"stopped by Ctrl-C; {len(history)} of {wanted} epochs were finished",
            "with --output-dir, --resume trains what is missing",
        )  # fmt: skip
    for name in {row.activation: 0 for row in history if not math.isfinite(row.train_loss)}:
        yield Finding(
            "diverged", "error", (), f"{name}: the training loss is not finite",
            "a lower --lr, or a lower --clip-value",
        )  # fmt: skip
    ranked = ranking(records)
    for row in ranked[1:]:
        behind = ranked[0].test_accuracy - row.test_accuracy
        if behind > _BEHIND:
            yield Finding(
                "below-expected", "warning", (),
                f"{row.activation} reaches {_percent(row)}, "
                f"{100 * behind:.1f} points below {ranked[0].activation}",
                f"more --epochs; gradflow diagnose --act {row.activation} shows its gradients",
            )  # fmt: skip


def _percent(row: BenchmarkRow) -> str:
    return f"{100 * row.test_accuracy:.1f} %"


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)  # fsum and statistics refuse infinities of both signs


def ranking(records: tuple[BenchmarkRow, ...]) -> list[BenchmarkRow]:
    """Return the rows from the highest test accuracy to the lowest."""
    return sorted(records, key=lambda row: -row.test_accuracy)
