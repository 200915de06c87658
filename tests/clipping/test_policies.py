"""Clipping policies as laws, for all gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradflow.clipping import policies as of
from gradflow.clipping.effect import changed_fraction, cosine, flat
from gradflow.clipping.policies import AutoClip, clip_gradients, clipping, total_norm
from gradflow.configs.policies import POLICIES, Policy
from gradflow.errors import GradflowError

#: Layers of one weight each; entries of a normal size and of sizes at the ends of float32.
numbers = st.floats(-1e4, 1e4, width=32) | st.floats(-(2.0**126), 2.0**126, width=32)
gradients = st.lists(st.lists(numbers, min_size=1, max_size=8), min_size=1, max_size=4)
thresholds = st.floats(1e-6, 1e6)
NORM_LIKE = ["norm", "layer-norm", "parameter-norm"]
#: float32 keeps each entry to half an ulp, 6e-8; the factor has three roundings more.
ROUNDING = {torch.float64: 1e-12, torch.float32: 4e-7}


def layers_with(rows: list[list[float]], dtype: torch.dtype = torch.float64) -> Any:
    """A layer for every row: a weight of ones, and the row as its gradient."""
    layers = [[nn.Parameter(torch.ones(1, len(row), dtype=dtype))] for row in rows]
    for layer, row in zip(layers, rows, strict=True):
        layer[0].grad = torch.tensor([row], dtype=dtype)
    return layers


def gradient(layers: Any) -> torch.Tensor:
    return flat(p.grad for layer in layers for p in layer)


def clipped(
    policy: str, rows: list[list[float]], threshold: float, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    layers = layers_with(rows, dtype)
    before = gradient(layers)
    assert clip_gradients(clipping(policy, threshold).clipper(), layers) is True
    return before, gradient(layers)


@pytest.mark.parametrize("dtype", ROUNDING)
@given(gradients, thresholds)
def test_norm_scaling_keeps_the_direction_and_ends_at_the_threshold(
    dtype: torch.dtype, rows: list[list[float]], threshold: float
) -> None:
    before, after = clipped("norm", rows, threshold, dtype)
    assert after.norm() <= threshold * (1 + ROUNDING[dtype])
    if before.norm() > 0:
        assert cosine(before, after) == pytest.approx(1, abs=ROUNDING[dtype])


@pytest.mark.parametrize("dtype", ROUNDING)
@given(gradients, st.floats(2**-10, 2**10, width=32))
def test_clipping_by_value_bounds_every_entry_and_once_is_enough(
    dtype: torch.dtype, rows: list[list[float]], threshold: float
) -> None:
    before, after = clipped("value", rows, threshold, dtype)
    assert after.abs().max() <= threshold
    small = before.abs() <= threshold
    assert torch.equal(after[small], before[small])
    assert torch.equal(after.sign(), before.sign())
    _, twice = clipped("value", [after.tolist()], threshold, dtype)
    assert torch.equal(twice, after)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("policy", ["none", "value", *NORM_LIKE])
@given(gradients)
def test_a_gradient_below_the_threshold_is_left_alone_to_the_bit(
    policy: str, dtype: torch.dtype, rows: list[list[float]]
) -> None:
    norm = math.hypot(*(x for row in rows for x in row))
    before, after = clipped(policy, rows, max(norm * (1 + 1e-12), 1e-9), dtype)
    assert torch.equal(before, after)
    assert changed_fraction(before, after) == 0


@pytest.mark.parametrize("policy", NORM_LIKE)
@given(gradients, thresholds)
def test_every_group_that_is_scaled_on_its_own_ends_at_the_threshold(
    policy: str, rows: list[list[float]], threshold: float
) -> None:
    layers = layers_with(rows)
    clip_gradients(clipping(policy, threshold).clipper(), layers)
    groups = [layers] if policy == "norm" else [[layer] for layer in layers]
    for group in groups:
        assert gradient(group).norm() <= threshold * (1 + 1e-12)


@given(gradients, st.floats(1e-3, 10))
def test_agc_bounds_every_unit_beside_its_weights_but_for_the_last_layer(
    rows: list[list[float]], limit: float
) -> None:
    layers = layers_with([*rows, [1e3]])
    clip_gradients(clipping(f"agc:{limit}", 1).clipper(), layers)
    for (weight,) in layers[:-1]:
        assert weight.grad.norm() <= limit * weight.detach().norm() * (1 + 1e-12)
    assert layers[-1][0].grad.item() == 1e3


def test_agc_clips_the_layer_of_a_network_that_has_no_other() -> None:
    layers = layers_with([[1e3]])
    clip_gradients(clipping("agc:0.1", 1).clipper(), layers)
    assert gradient(layers).item() == pytest.approx(0.1)


def test_the_hundredth_percentile_clips_nothing_that_came_before() -> None:
    before, after = clipped("autoclip:100", [[3.0, 4.0]], 1.0)
    assert torch.equal(before, after)


def test_agc_clips_a_unit_and_leaves_its_neighbour_alone() -> None:
    weight, last = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0]])), nn.Parameter(torch.ones(1))
    weight.grad = torch.tensor([[6.0, 8.0], [1e-5, 0.0]])
    clip_gradients(clipping("agc:0.1", 1).clipper(), [[weight], [last]])
    # ‖W‖ = 5, so at most 0.5 of the 10; the other unit has ε = 10⁻³, so at most 10⁻⁴.
    assert weight.grad[0].tolist() == pytest.approx([0.3, 0.4])
    assert weight.grad[1].tolist() == [pytest.approx(1e-5), 0.0]


def test_agc_takes_a_thousandth_for_the_norm_of_a_unit_that_starts_at_0() -> None:
    weight, last = nn.Parameter(torch.zeros(1, 2)), nn.Parameter(torch.ones(1))
    weight.grad = torch.tensor([[3.0, 4.0]])
    clip_gradients(clipping("agc:0.1", 1).clipper(), [[weight], [last]])
    assert weight.grad[0].tolist() == pytest.approx([0.6e-4, 0.8e-4])


def test_agc_takes_biases_for_one_unit_and_a_kernel_for_a_unit_per_channel() -> None:
    bias, last = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.ones(1))
    kernel = nn.Parameter(torch.full((2, 3, 2, 2), 0.5))
    bias.grad, kernel.grad = torch.tensor([6.0, 8.0]), torch.ones(2, 3, 2, 2)
    kernel.grad[1] = 0.001
    clip_gradients(clipping("agc:0.1", 1).clipper(), [[kernel, bias], [last]])
    assert bias.grad.tolist() == pytest.approx([0.3, 0.4])
    # ‖kernel‖ of a channel is √12/2, its gradient's √12.
    assert kernel.grad[0].flatten().tolist() == pytest.approx([0.05] * 12)
    assert kernel.grad[1].flatten().tolist() == pytest.approx([0.001] * 12)


def test_autoclip_forgets_what_is_older_than_a_thousand_norms() -> None:
    clip = AutoClip(1e-9)  # all but the smallest that it remembers
    clip.recent.extend([1.0] + [10.0] * 998)
    norms = []
    for _ in range(2):
        layers = layers_with([[10.0]])
        clip(layers)
        norms.append(gradient(layers).item())
    assert norms == pytest.approx([1.0, 10.0], rel=1e-5)


@pytest.mark.parametrize("policy", ["value", *NORM_LIKE])
def test_a_gradient_at_the_threshold_is_left_alone_to_the_bit(policy: str) -> None:
    before, after = clipped(policy, [[3.0, 4.0]], 5.0)
    assert torch.equal(before, after)


@given(st.lists(st.floats(0.1, 1e3), min_size=1, max_size=30), st.floats(1, 100))
def test_autoclip_is_numpys_percentile_of_the_norms_so_far(
    norms: list[float], percentile: float
) -> None:
    clipper = clipping(f"autoclip:{percentile}", 1).clipper()
    for done, norm in enumerate(norms, start=1):
        layers = layers_with([[norm]])
        clip_gradients(clipper, layers)
        limit = float(np.percentile(norms[:done], percentile))
        assert gradient(layers).item() == pytest.approx(min(norm, limit), rel=2e-5)  # torch's 1e-6


def test_value_clipping_turns_a_gradient_and_norm_scaling_does_not() -> None:
    rows = [[3.0, 0.4]]
    before, by_value = clipped("value", rows, 0.5)
    _, by_norm = clipped("norm", rows, 0.5)
    # cos between (3, 0.4) and (0.5, 0.4), by hand: (1.5 + 0.16)/(√9.16 · √0.41)
    assert cosine(before, by_value) == pytest.approx(1.66 / math.sqrt(9.16 * 0.41), rel=1e-12)
    assert cosine(before, by_norm) == pytest.approx(1, abs=1e-12)
    assert changed_fraction(before, by_value) == 0.5


@pytest.mark.parametrize("policy", POLICIES)
@given(gradients, st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_a_gradient_that_is_not_finite_is_refused_or_zeroed_never_spread(
    policy: str, rows: list[list[float]], bad: float, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    rows[row][data.draw(st.integers(0, len(rows[row]) - 1))] = bad
    layers = layers_with(rows)
    before = gradient(layers)
    clipper = clipping(policy, 0.5).clipper()
    with pytest.raises(GradflowError, match="not finite"):
        clip_gradients(clipper, layers)
    assert torch.equal(gradient(layers).nan_to_num(1.25), before.nan_to_num(1.25))
    assert clip_gradients(clipper, layers, "zero") is False
    assert torch.equal(gradient(layers), torch.zeros_like(before))


def test_torchs_own_norm_clipping_spreads_an_infinity() -> None:
    """What the guard is for."""
    ((p,),) = layers_with([[math.inf, 1.0]])
    nn.utils.clip_grad_norm_([p], 1.0)
    assert p.grad.isnan().any()
    assert p.grad[0, 1] == 0


@given(gradients)
def test_the_norm_is_that_of_math_and_does_not_overflow(rows: list[list[float]]) -> None:
    (layers,) = [layers_with(rows, torch.float32)]
    expected = math.hypot(*(x for row in rows for x in row))
    assert float(total_norm([p for (p,) in layers])) == pytest.approx(expected, rel=1e-12)


def test_a_norm_beyond_doubles_squares_is_scaled_all_the_same() -> None:
    before, after = clipped("norm", [[3e200, 4e200]], 1.0)
    assert after.tolist() == pytest.approx([0.6, 0.8], rel=1e-12)
    assert cosine(before, after) == pytest.approx(1, abs=1e-12)


def test_a_factor_below_float32_is_taken_in_steps_and_nothing_is_lost() -> None:
    before, after = clipped("norm", [[2.0**126, -(2.0**126)], [2.0**125]], 1e-6, torch.float32)
    assert after.norm().item() == pytest.approx(1e-6, rel=1e-6)
    assert cosine(before, after) == pytest.approx(1, abs=1e-6)


def test_a_parameter_without_a_gradient_is_no_obstacle() -> None:
    layers = [[nn.Parameter(torch.ones(2))], [nn.Parameter(torch.ones(2))]]
    for policy in POLICIES:
        assert clip_gradients(clipping(policy, 1.0).clipper(), layers) is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nrom", "unknown policy 'nrom'"),
        ("norm:", "must be a number above 0, got ''"),
        ("norm:x", "got 'x'"),
        ("value:-1", "got '-1'"),
        ("norm:0", "got '0'"),
        ("agc:nan", "got 'nan'"),
        ("none:1", "has no limit"),
        ("autoclip:101", "percentile up to 100"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        clipping(text, 1.0)


@pytest.mark.parametrize(("foreign", "raised"), [(True, GradflowError), (False, ValueError)])
def test_the_first_line_is_said_of_a_policy_of_another_package_that_fails(
    foreign: bool, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def useless(_: float) -> None:
        raise ValueError("one\ntwo\nthree")

    monkeypatch.setitem(POLICIES, "useless", Policy("others:useless", ""))
    monkeypatch.setattr(of, "loaded", lambda _: useless)
    monkeypatch.setattr(of, "points", lambda _: {"useless": "others:useless"} if foreign else {})
    with pytest.raises(raised) as caught:
        clipping("useless", 1.0)
    assert str(caught.value).endswith("ValueError: one" if foreign else "three")


def test_a_policy_of_another_package_is_looked_for_when_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def every() -> dict[str, Policy]:
        monkeypatch.setitem(POLICIES, "foreign", Policy("others:foreign", ""))
        return POLICIES

    monkeypatch.setattr(of, "every", every)
    monkeypatch.setattr(of, "loaded", lambda _: of.nothing)
    assert clipping("foreign", 0.5).limit == 0.5


def test_what_a_policy_of_another_package_refuses_is_said_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of, "points", lambda _: {"autoclip": POLICIES["autoclip"].make})
    with pytest.raises(GradflowError, match=r"^autoclip takes a percentile"):
        clipping("autoclip:101", 1.0)


def test_an_unknown_treatment_of_what_is_not_finite_is_refused() -> None:
    with pytest.raises(GradflowError, match="unknown treatment"):
        clip_gradients(clipping("none", 1).clipper(), layers_with([[1.0]]), "ignore")


def test_a_limit_comes_from_the_name_the_policy_or_the_threshold() -> None:
    limits = {text: clipping(text, 0.5).limit for text in ("none", "norm", "norm:5", "agc")}
    assert limits == {"none": None, "norm": 0.5, "norm:5": 5.0, "agc": 0.01}


def test_a_cosine_with_nothing_is_none() -> None:
    zero, one = torch.zeros(3), torch.ones(3)
    assert cosine(zero, one) is None
    assert cosine(one, torch.tensor([1.0, torch.nan, 0.0])) is None


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_cosine_of_extreme_gradients_neither_under_nor_overflows(scale: float) -> None:
    vector = torch.tensor([1, 2], dtype=torch.float64) * scale
    assert cosine(vector, 3 * vector) == pytest.approx(1, abs=1e-12)
