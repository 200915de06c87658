"""The ``theory`` of a network as a whole, its maps, and SELU's self-normalisation."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from gradflow.activations import ACTIVATIONS, activation
from gradflow.errors import GradflowError
from gradflow.results.base import Result
from gradflow.theories.meanfield import (
    TheoryConfig,
    chi,
    length_map,
    moment_jacobian,
    moment_map,
    theory,
)

names = st.sampled_from(sorted(ACTIVATIONS))
lengths = st.floats(1e-6, 1e6)

# --- the maps --------------------------------------------------------------------------------


@settings(deadline=None)
@given(lengths, st.floats(0.1, 5), st.floats(0, 3))
def test_relu_has_its_closed_forms(q, weight_variance, bias_variance):
    relu = activation("relu")
    mapped = float(length_map(relu, q, weight_variance, bias_variance))
    assert mapped == pytest.approx(weight_variance * q / 2 + bias_variance, rel=1e-13)
    assert float(chi(relu, q, weight_variance)) == pytest.approx(weight_variance / 2, rel=1e-15)


@settings(deadline=None)
@given(lengths, st.floats(1e-6, 1e6), st.floats(-2, 2))
def test_leaky_relu_maps_a_multiple_to_the_same_multiple(q, factor, alpha):
    act = activation("leaky-relu", alpha=alpha)
    once, scaled = (float(length_map(act, value, 1.7)) for value in (q, factor * q))
    assert scaled == pytest.approx(factor * once, rel=1e-12)


@settings(deadline=None)
@given(names, lengths, lengths, st.floats(0, 5), st.floats(0, 2))
def test_the_length_map_never_decreases_and_never_goes_below_the_biases(name, q, other, w, b):
    act = activation(name)
    low, high = length_map(act, sorted([q, other]), w, b)
    assert b <= low <= high * (1 + 1e-12)
    assert np.all(chi(act, [q, other], w) >= 0)


def test_the_maps_take_arrays_of_any_shape():
    act, q = activation("mish"), np.array([[0.0, 0.5, 1.0], [2.0, 3.0, 1e40]])
    for mapped in (length_map(act, q, 1.3, 0.2), chi(act, q, 1.3)):
        assert mapped.shape == q.shape
    assert length_map(act, q, 1.3, 0.2)[1, 0] == pytest.approx(
        float(length_map(act, 2.0, 1.3, 0.2))
    )
    assert length_map(act, q, 1.3, 0.2)[0, 0] == 0.2


# --- SELU ------------------------------------------------------------------------------------


def test_selu_keeps_mean_0_and_variance_1():
    mean, variance = moment_map(activation("selu"), 1.0)
    assert mean == pytest.approx(0, abs=1e-14)
    assert variance == pytest.approx(1, rel=1e-14)


def test_the_jacobian_of_selu_is_the_published_one():
    """Klambauer et al. 2017: [[0, 0.088834], [0, 0.782648]], spectral norm 0.7877."""
    jacobian = np.array(theory(TheoryConfig("selu")).jacobian)
    # Printed to six decimals, cut off rather than rounded.
    np.testing.assert_allclose(jacobian, [[0, 0.088834], [0, 0.782648]], rtol=0, atol=1e-6)
    assert np.linalg.norm(jacobian, 2) == pytest.approx(0.7877, abs=5e-5)


@settings(deadline=None)
@given(st.sampled_from(["selu", "gelu", "sigmoid", "softplus"]), st.floats(0.2, 5))
def test_the_jacobian_is_the_derivative_of_the_moment_map(name, variance):
    act, step = activation(name), 1e-4
    low, high = (np.array(moment_map(act, variance * (1 + s))) for s in (-step, step))
    _, column = np.array(moment_jacobian(act, variance)).T
    # step² times a third derivative of order 1.
    np.testing.assert_allclose(column, (high - low) / (2 * step * variance), atol=1e-6)


@settings(deadline=None)
@given(st.floats(0.1, 20))
def test_the_moment_map_of_selu_has_its_closed_form(variance):
    """Klambauer et al. 2017, eqs. 4 and 5, at ω = 0 and τ = 1."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    once, twice = (special.erfcx(k * math.sqrt(variance / 2)) for k in (1, 2))
    mean = scale * (math.sqrt(variance / (2 * math.pi)) + alpha * (once - 1) / 2)
    second = scale**2 * (variance + alpha**2 * (twice - 2 * once + 1)) / 2
    found = moment_map(activation("selu"), variance)
    assert found == pytest.approx((mean, second - mean**2), rel=1e-11, abs=1e-13)


def test_moments_of_no_variance_are_refused():
    with pytest.raises(GradflowError, match="variance"):
        moment_map(activation("selu"), 0.0)
    with pytest.raises(GradflowError, match="variance"):
        moment_jacobian(activation("selu"), -1.0)


# --- theory ----------------------------------------------------------------------------------


def test_rows_begin_with_the_inputs_and_count_gradients_from_the_last_layer():
    config = TheoryConfig(
        "tanh", weight_variance=1.5, bias_variance=0.1, input_variance=2.0, depth=7
    )
    result = theory(config)
    rows = result.rows()
    tanh = activation("tanh")
    assert [row["layer"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[0]["q"] == pytest.approx(1.5 * 2 + 0.1, rel=1e-14)
    for row, after in itertools.pairwise(rows):
        assert row["chi"] == pytest.approx(float(chi(tanh, row["q"], 1.5)), rel=1e-12)
        assert after["q"] == pytest.approx(float(length_map(tanh, row["q"], 1.5, 0.1)), rel=1e-12)
    factors = math.prod(row["chi"] for row in rows[:-1])
    assert rows[0]["gradient_log10"] == pytest.approx(math.log10(factors) / 2, rel=1e-12)
    assert rows[-1]["gradient_log10"] == 0


@pytest.mark.parametrize(
    ("name", "weight_variance"), [("tanh", 1.0), ("relu", 2.0), ("gelu", 1.0), ("softplus", 1.0)]
)
def test_the_default_weight_variance_is_the_critical_one_or_1(name, weight_variance):
    result = theory(TheoryConfig(name, depth=3))
    assert result.weight_variance == pytest.approx(weight_variance)
    if result.critical_weight_variance is None:
        assert result.critical_gain is None
    else:
        assert result.regime == "critical"
        assert result.depth_scale == math.inf
        assert result.critical_gain == pytest.approx(math.sqrt(weight_variance))


def test_alpha_reaches_the_activation():
    result = theory(TheoryConfig("elu", alpha=1.0, depth=2))
    assert result.parameters == {"alpha": 1.0}
    assert result.critical_weight_variance == pytest.approx(1)


def test_a_thousand_sigmoid_layers_lose_849_orders_of_magnitude():
    """torch's default, U(±1/√n): σ_w² = 1/3; a drawn network of width 64 measured −852."""
    config = TheoryConfig("sigmoid", weight_variance=1 / 3, bias_variance=1 / 192, depth=1000)
    assert theory(config).records[0].gradient_log10 == pytest.approx(-852, abs=5)


def test_only_selu_has_a_jacobian():
    assert theory(TheoryConfig("elu", depth=1)).jacobian is None


def test_the_edge_in_the_result_is_critical_throughout():
    result = theory(TheoryConfig("tanh", depth=1))
    assert len(result.edge) > 50
    assert (result.edge[0].bias_variance, result.edge[0].weight_variance) == (0, 1)
    assert result.edge[-1].bias_variance == 1
    weights = [point.weight_variance for point in result.edge]
    assert weights == sorted(weights)
    middle = result.edge[60]
    again = theory(
        TheoryConfig(
            "tanh",
            weight_variance=middle.weight_variance,
            bias_variance=middle.bias_variance,
            depth=1,
        )
    )
    assert again.regime == "critical"


@pytest.mark.parametrize(
    ("config", "title"),
    [
        (
            TheoryConfig("relu"),
            "relu at σ_w² = 2 (default: its critical one): critical; gradients keep 100 % per "
            "layer; depth scale ∞ layers",
        ),
        (
            TheoryConfig("relu", weight_variance=1.0),
            "relu at σ_w² = 1: ordered; gradients keep 70.7 % per layer; depth scale 1.44 layers",
        ),
        (
            TheoryConfig("identity", weight_variance=1.21, bias_variance=0.5),
            "identity at σ_w² = 1.21, σ_b² = 0.5: chaotic; gradients grow by 10 % per layer; "
            "depth scale 5.25 layers",
        ),
        (
            TheoryConfig("relu", weight_variance=200.0, depth=500),
            "relu at σ_w² = 200: chaotic; gradients grow 10-fold per layer; depth scale "
            "0.217 layers",
        ),
        (
            TheoryConfig("relu", weight_variance=1.0, depth=1),
            "relu at σ_w² = 1: ordered; gradients keep 70.7 % per layer; depth scale 1.44 layers",
        ),
        (
            TheoryConfig("gelu", depth=1),
            "gelu at σ_w² = 1 (default: it has no critical one): ordered; gradients keep 67.5 % "
            "per layer; depth scale 0.721 layers",
        ),
        (
            TheoryConfig("tanh", weight_variance=0.0),
            "tanh at σ_w² = 0: ordered; nothing of the gradient is passed back; depth scale "
            "0 layers",
        ),
    ],
)
def test_the_title_says_regime_and_rate(config, title):
    assert theory(config).title == title


@pytest.mark.parametrize("name", ["selu", "gelu"])
def test_a_result_survives_its_own_document(name):
    result = theory(TheoryConfig(name, depth=3))
    document = result.to_dict()
    assert document["command"] == "theory"
    assert {"fixed_point", "chi_fixed_point", "depth_scale", "regime"} <= document.keys()
    assert Result.from_dict(document) == result


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ({"depth": 0}, "--depth"),
        ({"depth": 2.5}, "--depth"),
        ({"weight_variance": -1.0}, "--weight-variance"),
        ({"weight_variance": math.nan}, "--weight-variance"),
        ({"bias_variance": math.inf}, "--bias-variance"),
        ({"bias_variance": 1e-300}, "--bias-variance"),
        ({"input_variance": -0.5}, "--input-variance"),
        ({"alpha": math.nan}, "--alpha"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(arguments, option):
    with pytest.raises(GradflowError, match=option):
        TheoryConfig("elu", **arguments)


def test_an_alpha_that_the_activation_has_not_is_refused():
    with pytest.raises(GradflowError):
        theory(TheoryConfig("tanh", alpha=0.5))


def test_theory_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys; from gradflow.theories.meanfield import TheoryConfig, theory;"
        "theory(TheoryConfig());"
        "sys.exit(bool({'torch', 'matplotlib', 'rich', 'scipy.optimize'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
