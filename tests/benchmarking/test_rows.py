"""From epochs to rows: means, intervals, paired comparisons, findings, titles."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from support.benchmark_runs import flow_row, history_row

from gradflow.activations import ACTIVATIONS
from gradflow.benchmarking import checks
from gradflow.benchmarking.rows import Difference, corrected, difference, outcomes, summarize
from gradflow.benchmarking.run import assembled
from gradflow.findings.check import judged
from gradflow.results.base import RunMeta
from gradflow.results.benchmark import BenchmarkResult, HistoryRow, Setting, duration, labels


def rows_of(history: list[HistoryRow], **options: Any) -> Any:
    return summarize(history, options.pop("train_size", 100), 10_000, **options).rows


def test_a_row_is_the_mean_over_seeds_at_the_epoch_that_validation_chose() -> None:
    history = [
        history_row(seed=0, epoch=1, validation_accuracy=0.7, test_accuracy=0.5, test_loss=0.2),
        history_row(seed=0, epoch=2, validation_accuracy=0.9, test_accuracy=0.90, test_loss=0.3),
        history_row(seed=0, epoch=3, validation_accuracy=0.8, test_accuracy=0.99, test_loss=0.1),
        history_row(seed=1, epoch=1, validation_accuracy=0.7, test_accuracy=0.5, test_loss=0.2),
        history_row(seed=1, epoch=2, validation_accuracy=0.8, test_accuracy=0.94, test_loss=0.4),
        history_row(seed=1, epoch=3, validation_accuracy=0.8, test_accuracy=0.99, test_loss=0.1),
        history_row("elu", seed=0, epoch=1),
    ]
    relu, elu = rows_of(history)
    assert (relu.seeds, relu.best_epoch) == (2, 2)
    assert relu.test_accuracy == pytest.approx(0.92)
    assert relu.validation_accuracy == pytest.approx(0.85)
    assert relu.test_accuracy_std == pytest.approx(math.sqrt(0.02**2 + 0.02**2))
    assert relu.test_loss == pytest.approx(0.35)
    assert (relu.seconds, relu.images_per_second) == (12.0, 50.0)
    assert (elu.activation, elu.test_accuracy_std, elu.test_accuracy_margin) == ("elu", None, None)


def test_the_test_set_chooses_nothing() -> None:
    better = history_row(epoch=2, test_accuracy=0.99, validation_accuracy=0.5)
    (row,) = rows_of([history_row(epoch=1), better])
    assert row.best_epoch == 1


def test_without_a_validation_set_the_last_epoch_counts() -> None:
    history = [history_row(epoch=e, validation_accuracy=None, test_accuracy=1 / e) for e in (1, 2)]
    (row,) = rows_of(history)
    assert (row.best_epoch, row.test_accuracy, row.validation_accuracy) == (2, 0.5, None)


def test_of_equal_epochs_the_earliest_is_best() -> None:
    (row,) = rows_of([history_row(epoch=1), history_row(epoch=2)])
    assert row.best_epoch == 1


def test_a_seed_that_got_less_far_is_left_out_of_the_row() -> None:
    history = [
        history_row(seed=0, epoch=1, validation_accuracy=0.1),
        history_row(seed=0, epoch=2, validation_accuracy=0.8, test_accuracy=0.8),
        history_row(seed=1, epoch=1),
    ]
    (row,) = rows_of(history)
    assert (row.seeds, row.test_accuracy) == (1, 0.8)


accuracies = st.lists(
    st.tuples(st.floats(0.5, 1), st.floats(0.5, 1)), min_size=2, max_size=8, unique=True
)


@given(accuracies)
def test_intervals_and_paired_p_are_scipy_s(pairs: list[tuple[float, float]]) -> None:
    """To 1e-9: the same formulas, in another order."""
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    history = [
        history_row(name, seed, test_accuracy=value)
        for name, column in (("relu", b), ("elu", a))
        for seed, value in enumerate(column)
    ]
    _, elu = rows_of(history)
    if np.ptp(a) > 1e-6:
        low, high = scipy.stats.t.interval(0.95, len(a) - 1, loc=a.mean(), scale=scipy.stats.sem(a))
        assert elu.test_accuracy_margin == pytest.approx((high - low) / 2, rel=1e-9)
    if np.ptp(a - b) > 1e-6:
        expected = scipy.stats.ttest_rel(a, b)
        assert elu.p_value == pytest.approx(expected.pvalue, rel=1e-7)
        interval = expected.confidence_interval(0.95)
        assert elu.difference == pytest.approx((a - b).mean(), abs=1e-12)
        assert elu.difference_margin == pytest.approx((interval.high - interval.low) / 2, rel=1e-7)
        clear = "better" if elu.difference > 0 else "worse"
        equal = max(
            scipy.stats.ttest_rel(a + 0.005, b, alternative="greater").pvalue,
            scipy.stats.ttest_rel(a - 0.005, b, alternative="less").pvalue,
        )
        assert elu.p_value_equal == pytest.approx(equal, rel=1e-6, abs=1e-12)
        unclear = "equal" if equal < 0.05 else "not told apart"
        assert elu.comparison == (clear if expected.pvalue < 0.05 else unclear)


def test_pairs_are_seeds_and_not_places() -> None:
    history = [history_row("relu", seed, test_accuracy=0.9 + seed / 100) for seed in (0, 1, 2)]
    history += [history_row("elu", seed, test_accuracy=0.91 + seed / 100) for seed in (2, 1, 0)]
    _, elu = rows_of(history)
    assert elu.difference == pytest.approx(0.01)
    assert elu.difference_margin == pytest.approx(0, abs=1e-12)
    assert elu.comparison == "better"


@pytest.mark.parametrize(("gap", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_equal_differences_have_a_p_all_the_same(gap: float, p: float) -> None:
    history = [history_row("relu", seed, test_accuracy=0.5) for seed in (0, 1)]
    history += [history_row("elu", seed, test_accuracy=0.5 + gap) for seed in (0, 1)]
    assert rows_of(history)[1].p_value == p


def test_holm_s_correction_is_that_of_the_textbook() -> None:
    """Holm 1979; the example of R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    raw = [Difference(0.1, 0.1, p, 0.1) for p in (0.01, 0.04, 0.03, 0.005)]
    found = [d.p for d in corrected(raw) if d is not None]
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert corrected([None]) == [None]


@given(st.floats(0.01, 0.99), st.integers(100, 100_000))
def test_one_seed_s_noise_is_that_of_two_proportions(p: float, n: int) -> None:
    a, b = outcomes([history_row("relu", test_accuracy=p), history_row("elu", test_accuracy=p)])
    assert difference(a, b, n).noise == pytest.approx(
        1.96 * math.sqrt(2 * p * (1 - p) / n), rel=1e-4
    )
    assert difference(a, b, n).p is None


@pytest.mark.parametrize(
    ("acts", "reference"), [(("elu", "relu"), "relu"), (("elu", "tanh"), "elu"), (("elu",), None)]
)
def test_the_reference_is_relu_or_the_first(acts: tuple[str, ...], reference: str | None) -> None:
    summary = summarize([history_row(name) for name in acts], 100, 100)
    records = summary.rows
    assert summary.reference == reference
    if reference is not None:
        (named,) = [row.activation for row in records if row.comparison == "reference"]
        assert named == reference


def test_a_grid_compares_within_equal_options() -> None:
    history = [
        history_row(name, lr=lr, test_accuracy=0.5 + lr + (name == "elu") / 10)
        for lr in (0.1, 0.2)
        for name in ("relu", "elu")
    ]
    rows = rows_of(history)
    assert [row.difference for row in rows] == [None, pytest.approx(0.1), None, pytest.approx(0.1)]
    one = rows_of([row for row in history if row.activation == "elu"])
    assert [row.comparison for row in one] == ["reference", "better"]


def test_the_time_to_a_target_is_the_median_over_seeds_of_training_time() -> None:
    history = [
        history_row(seed=seed, epoch=epoch, test_accuracy=accuracy, seconds=10.0 + seed)
        for seed, course in enumerate([(0.5, 0.99, 0.98), (0.5, 0.6, 0.99), (0.99, 0.5, 0.99)])
        for epoch, accuracy in enumerate(course, start=1)
    ]
    assert rows_of(history, target=0.99)[0].seconds_to_target == 20.0
    assert rows_of(history, target=0.995)[0].seconds_to_target is None
    assert rows_of(history)[0].seconds_to_target is None


# Titles, labels, findings


def result_of(accuracies: dict[str, float], test_size: int = 10_000) -> BenchmarkResult:
    history = tuple(history_row(name, test_accuracy=p) for name, p in accuracies.items())
    return result_from(history, test_size)


def result_from(history: Sequence[HistoryRow], test_size: int = 10_000) -> BenchmarkResult:
    sizes = {"train": 100, "validation": 0, "test": test_size}
    return assembled(tuple(history), (), sizes=sizes, epochs=1, target=None, meta=RunMeta())


@pytest.mark.parametrize(
    ("accuracies", "title"),
    [
        ({"relu": 0.99}, "relu best: 99.0 % test accuracy after 1 epoch"),
        (
            {"sigmoid": 0.91, "relu": 0.99},
            "relu best: 99.0 % test accuracy after 1 epoch; sigmoid last, 91.0 %",
        ),
        (
            {"sigmoid": 0.91, "elu": 0.989, "relu": 0.99},
            "relu best: 99.0 % test accuracy after 1 epoch; not told apart by one seed: elu (0.10 "
            "points lower); sigmoid last, 91.0 %",
        ),
        (
            {"elu": 0.989, "relu": 0.99},
            "relu best: 99.0 % test accuracy after 1 epoch; not told apart by one seed: elu (0.10 "
            "points lower)",
        ),
    ],
)
def test_the_title_says_who_is_best(accuracies: dict[str, float], title: str) -> None:
    assert result_of(accuracies).title == title


def seeded(**courses: tuple[float, ...]) -> list[HistoryRow]:
    return [
        history_row(name, seed, test_accuracy=accuracy)
        for name, course in courses.items()
        for seed, accuracy in enumerate(course)
    ]


def test_too_few_seeds_to_tell_is_not_equal() -> None:
    """Six points that vary with the seed are told; a tenth of a point that does not is equal."""
    result = result_from(
        seeded(
            relu=(0.989, 0.990, 0.991),
            elu=(0.9895, 0.9898, 0.9905),
            sigmoid=(0.88, 0.95, 0.97),
        )
    )
    assert [row.comparison for row in result.records] == ["reference", "equal", "not told apart"]
    assert result.title == (
        "relu best: 99.0 % test accuracy after 1 epoch; elu equal to within 0.5 points; "
        "not told apart by 3 seeds: sigmoid (5.67 points lower)"
    )
    finding = found(result)["below-expected"]
    assert "5.7 points below relu; 3 seeds cannot say that it is no chance" in finding.message
    assert "diagnose" not in finding.advice  # which would be of another network


def test_a_small_difference_that_every_seed_shows_is_a_difference() -> None:
    rows = rows_of(seeded(relu=(0.98, 0.981, 0.982), elu=(0.9811, 0.982, 0.9831)))
    assert rows[1].comparison == "better"
    assert rows[1].p_value_equal < 0.05


def test_many_settings_that_cannot_be_told_apart_are_said_in_short() -> None:
    names = list(ACTIVATIONS)[:10]
    title = result_of({n: 0.9 - i / 1e4 for i, n in enumerate(names)}).title
    assert f"{names[5]} (0.05), and 4 more (up to 0.09)" in title


def test_two_references_say_what_they_are_for() -> None:
    history = [history_row(name, lr=lr) for lr in (0.1, 0.2) for name in ("relu", "elu")]
    assert result_from(history).note == "Δ ref. is against relu of the same lr"
    assert result_from(history[:2]).note is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([Setting()], ["relu"]),
        ([Setting(), Setting(activation="elu")], ["relu", "elu"]),
        ([Setting(lr=0.1), Setting(lr=0.01)], ["lr 0.1", "lr 0.01"]),
        (
            [Setting(lr=0.1), Setting(activation="elu", batch_size=64)],
            ["relu, lr 0.1, batch 128", "elu, lr 0.001, batch 64"],
        ),
        ([Setting(clip="none"), Setting(arch="mlp")], ["cnn, clip none", "mlp, clip value 0.5"]),
        ([Setting(source="a"), Setting(source="b")], ["a", "b"]),
    ],
)
def test_a_label_holds_what_varies(settings: list[Setting], expected: list[str]) -> None:
    assert [labels(settings)[setting] for setting in settings] == expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11_100, "3 h 05 min")],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def found(result: BenchmarkResult) -> dict[str, Any]:
    sized = dataclasses.replace(result, validation_size=10, test_size=10_000)
    return {finding.code: finding for finding in judged(sized, checks.CHECKS).findings}


def test_an_activation_far_behind_is_a_finding() -> None:
    result = result_of({"relu": 0.99, "elu": 0.975, "sigmoid": 0.91})
    finding = found(result)["below-expected"]
    assert finding.severity == "warning"
    assert finding.message == "sigmoid reaches 91.0 %, 8.0 points below relu"


def test_what_the_test_set_was_for_is_said() -> None:
    message = found(result_of({"relu": 0.9}))["test-set"].message
    assert "10 images held out" in message
    assert "looked at once per epoch and chose nothing" in message


def test_one_seed_s_noise_is_said() -> None:
    assert "one-seed" in found(result_of({"relu": 0.9, "elu": 0.9}))
    assert "one-seed" not in found(result_of({"relu": 0.9}))


def test_a_loss_that_is_not_finite_is_a_finding() -> None:
    history = (history_row(train_loss=math.nan), history_row(epoch=2, train_loss=math.nan))
    result = BenchmarkResult(records=summarize(history, 10, 10).rows, history=history)
    assert found(result)["diverged"].severity == "error"


def test_dead_and_saturated_layers_at_the_end_are_findings() -> None:
    flow = (
        flow_row(dead_fraction=0.9, epoch=1),
        flow_row(dead_fraction=0.2, epoch=2),
        flow_row(dead_fraction=0.6, epoch=2, index=2),
        flow_row(saturated_fraction=0.95, epoch=2, index=3),
        flow_row(epoch=2, index=4),
    )
    result = BenchmarkResult(flow=flow)
    dead, saturated = found(result)["dead"], found(result)["saturated"]
    assert (dead.layers, saturated.layers) == ((2,), (3,))
    assert "in conv 2 60% of the units are dead" in dead.message


def test_equal_settings_are_neither_better_nor_worse() -> None:
    """Also where every image is right, so that chance gives no difference at all."""
    perfect = {"test_accuracy": 1.0, "seconds": 0.0}
    _, elu = rows_of([history_row(act, **perfect) for act in ("relu", "elu")])
    assert (elu.difference, elu.comparison) == (0.0, "not told apart")
    assert elu.images_per_second == math.inf
