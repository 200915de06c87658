"""What the gradient and the difference between examples lose: exact decades, made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from support.finding_examples import network

from gradflow.diagnosis.checks import decades as of
from gradflow.findings.thresholds import ADAPTIVE, DENSE_TOGETHER, GOES_AROUND, PLAIN
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.results.facts import BatchFacts, CriterionFacts, TensorFacts

INF = math.inf
BIT = 1e-6
LAYERS = 4


def deltas(*logs: float | None, **given: Any) -> DiagnosisResult:
    """Return hidden layers with these δ, and an output."""
    rows: list[dict[str, Any]] = [{"delta_log10_rms": log} for log in logs]
    names = given.pop("names", None)
    if names is not None:
        rows = [row | {"name": name} for row, name in zip(rows, names, strict=True)]
    return network(*rows, {}, **given)


def seen(
    alike: float | None = 0.0,
    lost: float | None = 0.0,
    kind: str = "cross-entropy",
    layers: str = "Linear",
    batch: dict[str, Any] | None = None,
    **given: Any,
) -> DiagnosisResult:
    """Return four layers; what δ loses over them, and what outputs have lost of the difference."""
    spread = None if alike is None else 10 ** (-2 * alike)
    criterion = CriterionFacts(kind, output=TensorFacts((32, 9), rms=1.0, example_spread=spread))
    facts = BatchFacts(**{"criteria": (criterion,)} | (batch or {}))
    rate = None if lost is None else 10 ** (-lost / LAYERS)
    rows = [{"delta_log10_rms": 0.0, "kind": layers}] * LAYERS
    return network(*rows, {}, **{"rate": rate, "batch": facts} | given)


@pytest.mark.parametrize(
    ("logs", "around"),
    [
        ((0.0, -GOES_AROUND, 0.5, 0.25), 0.25),
        ((0.0, -GOES_AROUND + BIT, 0.5), None),
        ((0.0, -2.0, -1.0, -0.5), -0.5),
        ((0.0, -2.0, 3.0, 1.0), 1.0),  # no more than at the layer that does the same
        ((-1.0, -2.5, None, -0.5, -INF), 0.5),
        ((None, -5.0, -7.0, -4.0), 1.0),  # from the first that is known
        ((None, -INF, None), None),
        ((), None),
        ((0.0, 1.0), None),
    ],
)
def test_what_is_lost_to_the_first_layer_where_delta_goes_around(
    logs: tuple[float | None, ...], around: float | None
) -> None:
    assert of.lost_around(deltas(*logs)) == (None if around is None else pytest.approx(around))


@pytest.mark.parametrize(
    ("names", "around"),
    [
        # The last of the first one's role stands at 3 of 5: near enough to the end to compare with.
        (("a1", "b1", "b2", "a2", "b3", "b4"), 1.0),
        # At 2 of 5 it does not: the largest of all.
        (("a1", "b1", "a2", "b2", "b3", "b4"), 4.0),
        (("a1", "b1", "b2", "b3", "b4", "c"), 4.0),
        (("a", "b", "c", "d", "e", "f"), 4.0),  # no role is found twice
    ],
)
def test_layers_are_compared_with_those_that_do_the_same(
    names: tuple[str, ...], around: float
) -> None:
    logs = (0.0, -2.0, 1.0, 1.0, 4.0, 2.0)
    assert of.lost_around(deltas(*logs, names=names)) == around


@pytest.mark.parametrize(
    ("spreads", "given", "lost"),
    [
        ((1.0, 1e-4), {}, 2.0),
        ((1.0, 1e-4, None), {}, 2.0),
        ((1e-2, 1.0), {}, 0.0),
        ((1.0, 0.0), {}, INF),
        ((1.0, 1e-4), {"examples": 1}, None),
        ((1.0, 1e-4), {"examples": 2}, 2.0),
        ((1.0, 1e-4), {"same_inputs": True}, None),
        ((1.0, 1e-4), {"started": (2,)}, None),
        ((1.0, 1e-4), {"started": (1,)}, 2.0),
        ((None, None), {}, None),
    ],
)
def test_the_signal_is_followed_as_far_as_it_is_known(
    spreads: tuple[float | None, ...], given: dict[str, Any], lost: float | None
) -> None:
    rows = [{"example_spread": spread} for spread in spreads]
    result = network(*rows, {"example_spread": 1e-8}, **given)
    assert of.signal_decades(result) == (None if lost is None else pytest.approx(lost))
    assert (of.signal_grade(result) is None) == (lost is None or lost < 2.55)


@pytest.mark.parametrize(("optimizer", "tolerance"), [("sgd", PLAIN), ("adam", ADAPTIVE)])
def test_the_signal_is_graded_by_its_optimizer(optimizer: str, tolerance: Any) -> None:
    bound = tolerance.bearable_signal(LAYERS)
    for lost, severity in ((bound + BIT, "error"), (bound - BIT, None)):
        rows = [{"example_spread": 10 ** (-2 * lost)}] * LAYERS
        grade = of.signal_grade(network(*rows, {}, optimizer=optimizer))
        assert (grade and grade.severity) == severity


@pytest.mark.parametrize(
    "given",
    [
        {"examples": 1},
        {"same_inputs": True},
        {"batch": {"criteria": (CriterionFacts("cross-entropy", classes=1),)}},
        {"started": (1,)},
        {"zero_layers": (1,)},
        {"zero_weights": ("a",)},
        {"batch": {"criteria": ()}},
        {"alike": None},
    ],
)
def test_the_output_is_not_looked_at_where_something_else_makes_it_the_same(
    given: dict[str, Any],
) -> None:
    assert of.seen_output(seen(1.0)) is not None
    assert of.seen_output(seen(**{"alike": 1.0} | given)) is None
    assert of.together(seen(**{"alike": 1.0} | given)) is None


def test_nor_where_layers_are_dead() -> None:
    result = seen(1.0)
    dead = network({"dead_fraction": 1.0}, {}, batch=result.facts.batch)
    assert of.seen_output(dead) is None


@pytest.mark.parametrize(
    ("kinds", "numbers"),
    [
        (("Linear",) * 4, True),
        (("Conv2d", "Conv1d", "Linear", "Linear"), True),  # half of them
        (("Conv2d", "Conv2d", "ConvTranspose2d", "Linear"), False),
        (("Conv2d", "Linear", "Conv2d"), False),
        (("Linear", "Conv2d", "Linear"), True),
    ],
)
def test_numbers_are_met_as_easily_as_scores_by_convolutions(
    kinds: tuple[str, ...], numbers: bool
) -> None:
    batch = seen(1.0, kind="mse").facts.batch
    result = network(*[{"kind": kind} for kind in kinds], {"kind": "Conv2d"}, batch=batch)
    found = of.seen_output(result)
    assert found is not None
    assert found.numbers is numbers
    assert found.decades == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("alike", "lost", "given", "both"),
    [
        (1.0, 2.0, {}, 3.0),
        (1.0, -2.0, {}, 1.0),
        (1.0, None, {}, None),
        (1.0, 2.0, {"whole_rate": 10 ** (-1.5 / LAYERS)}, 2.5),
        (1.0, 2.0, {"whole_rate": 10 ** (-2.5 / LAYERS)}, 3.0),
        (1.0, 2.0, {"span": 8}, 5.0),
    ],
)
def test_both_are_added(
    alike: float, lost: float | None, given: dict[str, Any], both: float | None
) -> None:
    found = of.together(seen(alike, lost, **given))
    assert found == (None if both is None else pytest.approx(both))


def test_nothing_is_added_where_delta_goes_around() -> None:
    result = deltas(0.0, -2.0, 1.0, rate=0.1, batch=seen(1.0).facts.batch)
    assert of.together(result) is None


@pytest.mark.parametrize(
    ("rate", "given", "lost"),
    [
        (10**-0.5, {}, 2.0),
        (10**0.5, {}, 2.0),
        (1.0, {}, 0.0),
        (None, {}, INF),
        (1.0, {"verdict": "dead"}, INF),
        (1.0, {"verdict": "no-gradient"}, INF),
        (1.0, {"example_spread": 1e-6}, 3.0),
        (10**-0.5, {"example_spread": 1e-2}, 2.0),
    ],
)
def test_the_worse_of_gradient_and_signal(
    rate: float | None, given: dict[str, Any], lost: float
) -> None:
    row = {"example_spread": given.pop("example_spread", None)}
    result = network(*[row] * LAYERS, {}, rate=rate, **given)
    assert of.decades(result) == pytest.approx(lost)


@pytest.mark.parametrize(("hidden", "lost"), [(0, 0.0), (1, 0.0), (2, INF)])
def test_few_layers_need_no_rate(hidden: int, lost: float) -> None:
    assert of.decades(network(*[{}] * (hidden + 1))) == lost


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({"alike": None}, ADAPTIVE.bearable_decades(LAYERS)),
        ({"lost": None}, ADAPTIVE.bearable_decades(LAYERS)),
        ({"batch": {"draws": True}}, ADAPTIVE.bearable_decades(LAYERS)),
        ({}, ADAPTIVE.bearable_seen(LAYERS)),
        ({"alike": ADAPTIVE.score_decades + BIT}, ADAPTIVE.bearable_decades(LAYERS)),
        ({"alike": ADAPTIVE.score_decades - BIT}, ADAPTIVE.bearable_seen(LAYERS)),
        # Up to scores behind dense layers, together no more than so much.
        ({"alike": 4.0, "lost": DENSE_TOGETHER - 4 - BIT}, ADAPTIVE.bearable_seen(LAYERS)),
        ({"alike": 4.0, "lost": DENSE_TOGETHER - 4 + BIT}, ADAPTIVE.bearable_decades(LAYERS)),
        # And behind convolutions the optimizer's own bound.
        (
            {"alike": 4.0, "lost": ADAPTIVE.score_together - 4 - BIT, "layers": "Conv2d"},
            ADAPTIVE.bearable_seen(LAYERS),
        ),
        (
            {"alike": 4.0, "lost": ADAPTIVE.score_together - 4 + BIT, "layers": "Conv2d"},
            ADAPTIVE.bearable_decades(LAYERS),
        ),
        # Numbers: their own.
        (
            {"alike": 1.0, "lost": ADAPTIVE.value_together - 1 - BIT, "kind": "mse"},
            ADAPTIVE.bearable_seen(LAYERS),
        ),
        (
            {"alike": 1.0, "lost": ADAPTIVE.value_together - 1 + BIT, "kind": "mse"},
            ADAPTIVE.bearable_decades(LAYERS),
        ),
        # Of which little is lost: those of scores, without the bound of dense ones.
        (
            {"alike": 0.5, "lost": ADAPTIVE.score_together - 0.5 - BIT, "kind": "mse"},
            ADAPTIVE.bearable_seen(LAYERS),
        ),
    ],
)
def test_more_is_bearable_where_outputs_are_seen_to_differ(
    given: dict[str, Any], bound: float
) -> None:
    assert of.bearable_fading(seen(**given))(ADAPTIVE) == bound


def test_where_delta_goes_around_its_own_bound_holds() -> None:
    result = deltas(0.0, -2.0, 1.0, -1.0, span=20)
    assert of.bearable_fading(result)(ADAPTIVE) == ADAPTIVE.bearable_around(20)


@pytest.mark.parametrize(
    ("rate", "lost"), [(10 ** (-0.5 / LAYERS), 0.5), (10 ** (0.5 / LAYERS), -0.5), (None, 7.0)]
)
def test_the_whole_of_delta_counts_where_layers_differ_in_size(
    rate: float | None, lost: float
) -> None:
    assert of.whole(seen(whole_rate=rate), 7.0) == pytest.approx(lost)


def test_delta_is_graded_by_the_less_of_its_size_and_its_norm() -> None:
    bound = PLAIN.bearable_decades(LAYERS)
    assert of.faded(seen(None, bound + 1, optimizer="sgd"))[0] is not None
    for norms, severity in ((bound + BIT, "error"), (bound - BIT, None)):
        result = seen(None, bound + 1, optimizer="sgd", whole_rate=10 ** (-norms / LAYERS))
        grade, around = of.faded(result)
        assert (grade and grade.severity, around) == (severity, None)
    assert of.faded(seen(None, None)) == (None, None)


@pytest.mark.parametrize(
    ("last", "rate", "severity", "near"),
    [
        (PLAIN.bearable_around(3) + BIT, 1e-3, "error", True),
        (PLAIN.bearable_around(3) - BIT, 1e-3, "warning", False),  # of the deep path
        (1.0, 1.0, None, False),
    ],
)
def test_of_delta_that_goes_around_what_comes_to_the_first_layer_counts(
    last: float, rate: float, severity: str | None, near: bool
) -> None:
    grade, around = of.faded(deltas(0.0, -2.0, last, rate=rate, optimizer="sgd"))
    assert around == last
    assert (grade and grade.severity) == severity
    assert bool(grade and grade.near) is near


def test_what_is_at_a_bound_is_beyond_it() -> None:
    result = seen(1.25, 2.0)
    output, both = of.seen_output(result), of.together(result)
    assert output is not None
    assert both is not None
    bound = of.bearable_fading(result)
    assert bound(ADAPTIVE) == ADAPTIVE.bearable_seen(LAYERS)
    for at in (
        replace(ADAPTIVE, score_decades=output.decades),
        replace(ADAPTIVE, score_together=both),
    ):
        assert bound(at) == ADAPTIVE.bearable_decades(LAYERS)
