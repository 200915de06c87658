"""What holds of a chain whatever its numbers: the product rule, in any order and any scale."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.laws import tried

from gradflow.functions.chain import chain

factors = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)
chains = st.lists(st.tuples(factors, factors), min_size=1, max_size=12)
ROUNDING = 1e-14  # some thirty factors of half an ulp each


def parts(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [w for w, _ in pairs][1:], [s for _, s in pairs]


@tried(40)
@given(chains)
def test_the_gradient_is_the_exact_product(pairs: list[tuple[float, float]]) -> None:
    weights, slopes = parts(pairs)
    exact = math.prod(map(Fraction, [*weights, *slopes]))
    assert chain(weights, slopes).gradient == pytest.approx(float(exact), rel=ROUNDING)


@tried(40)
@given(chains, st.randoms(use_true_random=False))
def test_the_order_of_the_neurons_does_not_matter(
    pairs: list[tuple[float, float]], random: object
) -> None:
    weights, slopes = parts(pairs)
    before = chain(weights, slopes)
    random.shuffle(weights)  # type: ignore[attr-defined]
    random.shuffle(slopes)  # type: ignore[attr-defined]
    after = chain(weights, slopes)
    assert after.gradient == pytest.approx(before.gradient, rel=ROUNDING)
    assert after.gradient_log10 == pytest.approx(before.gradient_log10, abs=1e-12)


@tried(40)
@given(chains, st.integers(-20, 20))
def test_the_cost_s_slope_scales_it(pairs: list[tuple[float, float]], power: int) -> None:
    weights, slopes = parts(pairs)
    scaled = chain(weights, slopes, cost_slope=2.0**power)
    assert scaled.gradient == 2.0**power * chain(weights, slopes).gradient


@tried(40)
@given(chains, chains)
def test_two_chains_in_a_row_multiply(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    (weights, slopes), (further, behind) = parts(first), parts(second)
    joint = chain([*weights, 1.0, *further], [*slopes, *behind])
    product = chain(weights, slopes).gradient * chain(further, behind).gradient
    assert joint.gradient == pytest.approx(product, rel=ROUNDING)


@tried(40)
@given(chains, st.floats(-10, 10), st.floats(1e-6, 10))
def test_the_bias_moves_against_the_gradient(
    pairs: list[tuple[float, float]], bias: float, rate: float
) -> None:
    result = chain(*parts(pairs), bias=bias, learning_rate=rate)
    assert result.updated_bias == bias - rate * result.gradient
