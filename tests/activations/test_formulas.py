"""Laws over all doubles, what the registry says of each activation, and its torch module."""

import dataclasses
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from support.activation_truth import (
    TEXTBOOK,
    WITH_OTHER_ALPHAS,
    WITH_ZERO_SLOPE,
    label,
    ulps,
    within_40,
    zero_of_slope,
)

from gradflow.activations import ACTIVATIONS, Activation, activation, registry
from gradflow.activations.catalogue import ENTRIES
from gradflow.errors import GradflowError

every_activation = pytest.mark.parametrize("act", WITH_OTHER_ALPHAS, ids=label)
activations = st.sampled_from(WITH_OTHER_ALPHAS)
numbers = st.floats(allow_nan=False)


@settings(max_examples=1000)
@given(act=activations, x=st.lists(st.floats(), min_size=1, max_size=5))
def test_no_double_gives_a_warning_and_only_nan_gives_nan(act, x):
    with np.errstate(all="raise"):
        results = act(x), act.derivative(x)
    for result in results:
        assert np.array_equal(np.isnan(result), np.isnan(x))


@settings(max_examples=1000)
@given(act=activations, x=numbers)
def test_values_stay_in_the_range_and_slopes_below_max_slope(act, x):
    low, high = act.range
    assert low + 1e-15 * max(low, -1) <= act(x) <= high  # the minimum itself is rounded
    assert abs(act.derivative(x)) <= act.max_slope * (1 + 1e-12)


@settings(max_examples=1000)
@given(act=activations.filter(lambda act: act.monotonic), ends=st.tuples(numbers, numbers))
def test_monotonic_ones_never_decrease_beyond_rounding(act, ends):
    low, high = act(sorted(ends))
    assert high >= low or math.isclose(high, low, rel_tol=1e-15, abs_tol=2e-323)  # 4 ulp


@pytest.mark.parametrize("act", [a for a in WITH_OTHER_ALPHAS if not a.monotonic], ids=label)
def test_the_others_do_decrease_somewhere(act):
    assert np.diff(act(np.linspace(-3, 0, 100))).min() < -1e-3


@every_activation
def test_limits_at_infinity_are_those_of_the_range(act):
    falling = {"elu": 0.5, "leaky-relu": np.inf}.get(act.name, 0.0)  # with alpha < 0
    low, high = act([-np.inf, np.inf])
    assert low == (act.range[0] if act.monotonic else falling)
    assert high == act.range[1]


@every_activation
def test_arrays_scalars_and_strided_views_agree_to_the_last_bit(act):
    x = np.concatenate([within_40(np.random.default_rng(5), 200)[:997], [np.inf, -np.inf, -0.0]])
    strided = np.repeat(x, 2).reshape(-1, 2)[:, 1]
    for f in (act, act.derivative):
        whole = f(x).view(np.int64)
        threes = np.concatenate([f(part) for part in np.array_split(x, 334)])
        singles = np.array([f([v]) for v in x]).ravel()
        scalars = np.array([f(v) for v in x.tolist()])
        for other in (f(strided), f(x.reshape(4, -1)).ravel(), threes, singles, scalars):
            assert np.array_equal(whole, other.view(np.int64))


def test_shapes_and_types_follow_the_input():
    tanh = activation("tanh")
    assert isinstance(tanh(1), np.float64)
    assert tanh(np.ones((2, 0, 3), dtype=np.float32)).shape == (2, 0, 3)
    assert tanh(np.ones(2, dtype=np.float32)).dtype == np.float64
    x = np.zeros(3)
    assert not np.shares_memory(activation("identity")(x), x)


# --- what the registry says of each ------------------------------------------------------------


def test_known_values():
    assert ulps(activation("sigmoid").derivative(10), mp.mpf(4.5395807735951673e-05)) <= 1
    assert activation("sigmoid").max_slope == 0.25
    assert activation("gelu").max_slope == pytest.approx(1.128993068658772, rel=1e-15)
    assert activation("hardswish").max_slope == 1.5
    assert activation("elu", alpha=3).max_slope == 3
    assert activation("leaky-relu", alpha=-7).max_slope == 7


def test_the_registry_has_every_entry_by_its_name():
    assert registry.every() is ACTIVATIONS
    assert [entry.name for entry in registry.every().values()][: len(ENTRIES)] == [
        entry.name for entry in ENTRIES
    ]
    assert all(entry.name == name for name, entry in registry.every().items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "relu"}, "'relu' is taken"),
        ({"aliases": ("other", "swish")}, "'swish' is taken"),
        ({"value": lambda x: x + np.inf}, "not finite"),
        ({"value": lambda x: np.where(x < 0.4, x, np.nan)}, "not finite"),
        ({"slope": lambda x: np.full_like(x, np.nan)}, "not finite"),
    ],
)
def test_an_activation_that_would_not_work_is_not_added(changes, said, monkeypatch):
    monkeypatch.setattr(registry, "ACTIVATIONS", dict(ACTIVATIONS))
    new = dataclasses.replace(ACTIVATIONS["elu"], name="new", aliases=())
    with pytest.raises(ValueError, match=said):
        registry._add(dataclasses.replace(new, **changes))
    registry._add(new)
    assert registry.ACTIVATIONS["new"] is new
    with pytest.raises(TypeError, match="str is no"):
        registry._add("elu")


def test_max_slope_sees_both_sides_of_a_kink_wherever_it_is():
    ramp = dataclasses.replace(
        ACTIVATIONS["relu"], kinks=(1 / 3,), slope=lambda x: np.where(x <= 1 / 3, x.clip(0), 0.0)
    )
    assert ramp.max_slope == 1 / 3


@pytest.mark.parametrize("sign", [-1, 1])
def test_max_slope_may_be_reached_at_either_end_of_the_line_alone(sign):
    slope = lambda x: np.where(sign * x > 0, 1 - 1 / (1 + np.abs(x)), 0.0)  # noqa: E731
    assert dataclasses.replace(ACTIVATIONS["relu"], kinks=(), slope=slope).max_slope == 1


def test_what_oscillates_has_no_limit_and_is_an_activation_all_the_same():
    sine = Activation(
        "sine", "sin x", "cos x", np.sin, np.cos, (-1, 1), "torch.nn:Module", "[]", monotonic=False
    )
    assert sine.max_slope == 1
    assert np.isnan(sine([-math.inf, math.inf])).all()
    assert np.isnan(sine.derivative(math.inf))
    (left, right) = sine.saturation(-3, 3)
    assert left[0] < -math.pi / 2 < left[1] < 0 < right[0] < math.pi / 2 < right[1]
    gap = dataclasses.replace(sine, slope=lambda x: np.where(np.abs(x) < 1, np.nan, np.cos(x)))
    assert math.isnan(gap.max_slope)


def test_no_zero_of_relu_has_a_sign():
    assert not np.signbit(activation("relu")([-math.inf, -1.0, -0.0, 0.0, 1.0])).any()


def test_a_formula_sees_neither_nan_nor_a_scalar():
    seen = []
    spy = dataclasses.replace(ACTIVATIONS["identity"], value=lambda x: seen.append(x) or x)
    assert np.isnan(spy(np.nan))
    assert seen[0].ndim == 1
    assert not np.isnan(seen).any()


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu-erf", "mish", "quick-gelu"])
def test_max_slope_is_the_slope_where_the_second_derivative_is_zero(name):
    with mp.workdps(30):
        slope = lambda x: TEXTBOOK[name][1](mp, x, None)  # noqa: E731
        steepest = mp.findroot(lambda x: mp.diff(slope, x), 1.4 if name != "silu" else 2.4)
        assert ACTIVATIONS[name].max_slope == pytest.approx(float(slope(steepest)), rel=1e-15)


@pytest.mark.parametrize("name", WITH_ZERO_SLOPE)
def test_the_range_starts_at_the_value_where_the_slope_is_zero(name):
    with mp.workdps(30):
        assert ACTIVATIONS[name].range[0] == float(
            TEXTBOOK[name][0](mp, zero_of_slope(ACTIVATIONS[name]), None)
        )


def test_ranges_read_as_intervals():
    assert activation("sigmoid").range_text == "(0, 1)"
    assert activation("elu").range_text == "(−0.2, ∞)"
    assert activation("elu", alpha=-1).range_text == "[0, ∞)"
    assert activation("hardswish").range_text == "[−0.375, ∞)"
    assert activation("identity").range_text == "(−∞, ∞)"


@every_activation
def test_the_slope_jumps_at_the_kinks_and_nowhere_else(act):
    steps = np.linspace(-10, 10, 20_001)[1:]  # each kink is the right end of a step
    jumps = np.abs(act.derivative(np.nextafter(steps, 11)) - act.derivative(steps))
    assert set(steps[jumps > 1e-9 * act.max_slope].round(3)) == set(act.kinks)


@every_activation
def test_the_slope_at_a_kink_is_that_of_the_left_branch(act):
    for kink in act.kinks:
        left = act.derivative(np.nextafter(kink, -np.inf))
        assert act.derivative(kink) == pytest.approx(left, rel=1e-15)


@pytest.mark.parametrize("act", [a for a in WITH_OTHER_ALPHAS if a.max_slope < 1e3], ids=label)
def test_saturation_intervals_are_where_the_slope_is_below_one_percent(act):
    intervals = act.saturation(-50, 30)
    x = np.concatenate([np.linspace(-50, 30, 9973), np.ravel(intervals)])
    inside = np.zeros(x.shape, dtype=bool)
    for low, high in intervals:
        inside |= (low <= x) & (x <= high)
    assert np.array_equal(inside, np.abs(act.derivative(x)) < 0.01 * act.max_slope)


def test_saturation_of_the_sigmoid_ends_where_its_closed_form_does():
    (left, right) = activation("sigmoid").saturation(-10, 10)
    edge = math.log((1 + math.sqrt(0.99)) / (1 - math.sqrt(0.99)))  # 4s/(1 + s)² = 0.01
    assert left == pytest.approx((-10, -edge), rel=1e-14)
    assert right == pytest.approx((edge, 10), rel=1e-14)
    assert activation("relu").saturation(-2, 5) == [(-2, 0.0)]
    for ends in (0, edge + 1e-7), (-edge - 1e-7, 0):  # between the last two places looked at
        ((low, high),) = activation("sigmoid").saturation(*ends)
        assert (abs(low), abs(high)) == pytest.approx(
            (edge, edge + 1e-7) if ends[0] == 0 else (edge + 1e-7, edge), rel=1e-14
        )


@given(low=st.floats(-30, 29.9), wide=st.floats(1e-6, 0.5))
def test_saturation_within_a_part_is_that_of_the_whole_there(low, wide):
    act, high = activation("sigmoid"), low + wide
    whole = [(max(low, a), min(high, b)) for a, b in act.saturation(-30, 31)]
    expected = [ends for ends in whole if ends[0] <= ends[1]]
    assert np.ravel(act.saturation(low, high)) == pytest.approx(np.ravel(expected), rel=1e-12)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, math.inf), (math.nan, 1), (-1e308, 1e308)])
def test_saturation_refuses_what_is_no_interval(ends):
    with pytest.raises(GradflowError, match="no interval from"):
        activation("tanh").saturation(*ends)


def test_an_activation_is_shown_without_its_functions():
    for act in (activation("gelu"), activation("elu", alpha=0.5)):
        assert "function" not in repr(act)
        assert repr(act).startswith(f"Activation(name='{act.name}', ")


# --- torch -------------------------------------------------------------------------------------


IN_TORCH = [*ACTIVATIONS.values(), activation("elu", alpha=3), activation("celu", alpha=0.3)]
FLOAT32_CONSTANTS = {"hardsigmoid", "celu"}  # 1/6 and 1/α, in torch's float64 backward pass


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("act", IN_TORCH, ids=label)
def test_the_torch_module_computes_the_same(act, inplace):
    import torch

    x = torch.linspace(-30.01, 30.02, 3001, dtype=torch.float64, requires_grad=True)  # no kink
    module = act.module(inplace)
    value = module(x * 1)  # a leaf must not be overwritten
    (slope,) = torch.autograd.grad(value.sum(), x)
    at, rtol = x.detach().numpy(), 1e-6 if act.name in FLOAT32_CONSTANTS else 1e-12
    # absolute: torch's own forms cancel in the tails
    np.testing.assert_allclose(value.detach().numpy(), act(at), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope.numpy(), act.derivative(at), rtol=rtol, atol=1e-14)
    assert type(module).__name__ == act.torch_class


def test_importing_loads_neither_torch_nor_scipy():
    code = "import sys, gradflow.activations; print(sorted({'torch', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# --- names and parameters ----------------------------------------------------------------------


def test_the_articles_six_come_first():
    assert list(ACTIVATIONS)[:6] == ["sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu"]


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("leaky_relu", "leaky-relu"),
        ("LeakyReLU", "leaky-relu"),
        ("lrelu", "leaky-relu"),
        ("Leaky ReLU", "leaky-relu"),
        ("swish", "silu"),
        ("gelu-tanh", "gelu"),
        ("GELU_ERF", "gelu-erf"),
        ("linear", "identity"),
        ("hard-tanh", "hardtanh"),
        ("ReLU 6", "relu6"),
    ],
)
def test_names_and_aliases_find_their_activation(alias, name):
    assert activation(alias).name == name


def test_no_two_activations_share_a_name():
    names = [n for act in ACTIVATIONS.values() for n in (act.name, *act.aliases)]
    plain = ["".join(c for c in n if c.isalnum()) for n in names]
    assert len(set(plain)) == len(plain)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(GradflowError, match="unknown activation 'sigmiod'") as caught:
        activation("sigmiod")
    assert "did you mean sigmoid" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "parameters", "message", "hint"),
    [
        ("sigmoid", {"alpha": 1}, "sigmoid has no alpha", "elu, leaky-relu, celu"),
        ("elu", {"beta": 1}, "elu has no beta", "leave it out"),
        ("elu", {"alpha": math.nan}, "alpha = nan for elu is not finite", "give a number"),
        ("leaky-relu", {"alpha": math.inf}, "alpha = inf for leaky-relu", "give a number"),
        ("celu", {"alpha": 0}, "celu needs alpha > 0, not 0", "divides by alpha"),
        ("celu", {"alpha": -1}, "celu needs alpha > 0, not -1", "divides by alpha"),
    ],
)
def test_parameters_are_checked(name, parameters, message, hint):
    with pytest.raises(GradflowError, match=message) as caught:
        activation(name, **parameters)
    assert hint in caught.value.hint


def test_several_are_each_there_once_and_alpha_is_for_those_that_have_one():
    found = registry.activations(["tanh", "ELU", "relu", "elu"], alpha=0.5)
    assert found == [activation("tanh"), activation("elu", alpha=0.5), activation("relu")]
    assert registry.activations(["elu"]) == [activation("elu")]
    with pytest.raises(GradflowError, match="alpha"):
        registry.activations(["tanh", "relu"], alpha=0.5)


def test_alpha_is_a_fifth_for_elu_and_leaky_relu_unless_given():
    assert activation("elu").parameters == activation("lrelu").parameters == {"alpha": 0.2}
    assert activation("elu", alpha=None) is activation("elu")
    assert activation("leaky-relu", alpha=0.5)(-2) == -1


def test_activations_are_equal_by_name_and_parameters_and_survive_pickling():
    assert activation("elu", alpha=0.2) == activation("ELU")
    assert activation("elu", alpha=0.3) != activation("elu")
    assert len({activation("elu", alpha=0.3), activation("elu", alpha=0.3)}) == 1
    for act in WITH_OTHER_ALPHAS:
        again: Activation = pickle.loads(pickle.dumps(act))
        assert again == act
        assert again(-0.7) == act(-0.7)
