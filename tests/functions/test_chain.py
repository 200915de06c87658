"""The article's one-neuron-per-layer derivative, against its printed numbers and autograd."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradflow.errors import GradflowError
from gradflow.functions.chain import chain, given_slopes


def test_the_exploding_example_of_the_article() -> None:
    result = chain([100, 100, 100], [0.13, 0.21, 0.09, 0.14])
    # 0.13·100·0.21·100·0.09·100·0.14, exact in decimal: 343.98; seven roundings of ½ ulp each.
    assert result.gradient == pytest.approx(343.98, rel=1e-15)


def test_its_update_with_a_cost_slope_of_minus_one() -> None:
    result = chain([100] * 3, [0.13, 0.21, 0.09, 0.14], cost_slope=-1, bias=1.56, learning_rate=0.5)
    assert result.gradient == pytest.approx(-343.98, rel=1e-15)
    assert result.updated_bias == pytest.approx(173.55, rel=1e-14)  # 1.56 − 0.5·(−343.98)


def test_the_vanishing_update_of_the_article() -> None:
    result = chain([], [4.38e-8], bias=0.2, learning_rate=0.5)
    assert f"{result.updated_bias:.10f}" == "0.1999999781"


def test_sigmoid_slope_at_ten_is_the_articles() -> None:
    (slope,) = given_slopes(None, "sigmoid", "10")
    assert f"{slope:.10f}" == "0.0000453958"


def test_a_dead_relu_gives_zero_and_is_named() -> None:
    slopes = given_slopes(None, "relu", "1,-2,3")
    result = chain([5, 5], slopes)
    assert result.gradient == 0
    (finding,) = result.findings
    assert (finding.code, finding.layers) == ("dead", (2,))
    assert "φ′(z₂)" in finding.message


def test_two_dead_neurons_are_both_named() -> None:
    (finding,) = chain([1, 1], [0, 1, 0]).findings
    assert finding.layers == (1, 3)


def test_a_product_below_float64_is_told_by_its_logarithm() -> None:
    result = chain([0.25] * 999, [0.25] * 1000)
    assert result.gradient == 0
    assert result.gradient_log10 == pytest.approx(1999 * math.log10(0.25), rel=1e-12)
    assert [finding.code for finding in result.findings] == ["underflow"]
    assert "10^-1203.52" in result.title


def test_autograd_gives_the_same_gradient_for_a_real_chain() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(6, generator=generator, dtype=torch.float64)
    biases = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    a, zs = torch.tensor(0.7, dtype=torch.float64), []
    for weight, bias in zip(weights, biases, strict=True):
        zs.append(weight * a + bias)
        a = torch.sigmoid(zs[-1])
    ((a - 0.3) ** 2).backward()
    slopes = given_slopes(None, "sigmoid", ",".join(repr(z.item()) for z in zs))
    result = chain(weights[1:].tolist(), slopes, cost_slope=2 * (a.item() - 0.3))
    assert biases.grad is not None
    # ~13 multiplications and the slopes' 4 ulp each: 1e-14 leaves a factor of about two.
    assert result.gradient == pytest.approx(biases.grad[0].item(), rel=1e-14)


numbers = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_every_row_is_the_last_times_its_factor(pairs: list[tuple[float, float]]) -> None:
    weights, slopes = [w for w, _ in pairs][1:], [s for _, s in pairs]
    rows = chain(weights, slopes, cost_slope=2.0).records
    assert len(rows) == 2 * len(slopes)
    for before, after in itertools.pairwise(rows):
        assert after.product == before.product * after.value
    for row in rows:
        if row.product:
            assert math.log10(abs(row.product)) == pytest.approx(row.product_log10, abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "slopes", "says"),
    [
        ([], [], "no slopes"),
        ([1], [1], "weights must be one fewer than slopes: got 1 for 1"),
        ([1, 2], [1, 2], "weights must be one fewer than slopes: got 2 for 2"),
        ([math.nan], [1, 2], "nan"),
    ],
)
def test_what_does_not_fit_is_refused(weights: list[float], slopes: list[float], says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        chain(weights, slopes)


def test_slopes_given_twice_are_refused() -> None:
    with pytest.raises(GradflowError, match="twice"):
        given_slopes("1,2", "relu", "1,2")


@pytest.mark.parametrize("flag", ["--lr", "--learning-rate"])
def test_the_learning_rate_has_two_names(flag: str, run: Any) -> None:
    done = run("chain", "--slopes", "0.5", "--bias", "1", flag, "0.25")
    assert "b₁ = 1 - 0.25·(0.5) = 0.875" in done.stdout
