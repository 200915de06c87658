"""Policies on one gradient, as laws; and what they do to training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradflow.clipping import POLICIES, changed_fraction, clip, cosine, flat
from gradflow.configs import ClipConfig, NetworkConfig
from gradflow.errors import GradflowError
from gradflow.results.clipping import ClipResult

gradients = st.lists(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8), min_size=1, max_size=4
)
thresholds = st.floats(1e-3, 1e3)


def clipped(policy: str, rows: list[list[float]], threshold: float) -> tuple[Any, Any]:
    parameters = [torch.nn.Parameter(torch.zeros(len(row), dtype=torch.float64)) for row in rows]
    for p, row in zip(parameters, rows, strict=True):
        p.grad = torch.tensor(row, dtype=torch.float64)
    before = flat(p.grad.clone() for p in parameters if p.grad is not None)
    POLICIES[policy](parameters, threshold)
    return before, flat(p.grad for p in parameters if p.grad is not None)


@given(gradients, thresholds)
def test_norm_scaling_keeps_the_direction_and_ends_at_the_threshold(
    rows: list[list[float]], threshold: float
) -> None:
    before, after = clipped("norm", rows, threshold)
    assert after.norm() <= threshold * (1 + 1e-12)
    if before.norm() > 0:
        assert cosine(before, after) == pytest.approx(1, abs=1e-12)


@given(gradients, thresholds)
def test_clipping_by_value_bounds_every_entry_and_once_is_enough(
    rows: list[list[float]], threshold: float
) -> None:
    before, after = clipped("value", rows, threshold)
    assert after.abs().max() <= threshold
    small = before.abs() <= threshold
    assert torch.equal(after[small], before[small])
    _, twice = clipped("value", [after.tolist()], threshold)
    assert torch.equal(twice, after)


@given(gradients)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_gradient_below_the_threshold_is_left_alone_to_the_bit(
    policy: str, rows: list[list[float]]
) -> None:
    before, after = clipped(policy, rows, 1e6)
    assert torch.equal(before, after)
    assert changed_fraction(before, after) == 0


def test_value_clipping_turns_a_gradient_and_norm_scaling_does_not() -> None:
    rows = [[3.0, 0.4]]
    before, by_value = clipped("value", rows, 0.5)
    _, by_norm = clipped("norm", rows, 0.5)
    # cos between (3, 0.4) and (0.5, 0.4), by hand: (1.5 + 0.16)/(√9.16 · √0.41)
    assert cosine(before, by_value) == pytest.approx(1.66 / math.sqrt(9.16 * 0.41), rel=1e-12)
    assert cosine(before, by_norm) == pytest.approx(1, abs=1e-12)
    assert changed_fraction(before, by_value) == 0.5


def test_a_cosine_with_nothing_is_none() -> None:
    zero, one = torch.zeros(3), torch.ones(3)
    assert cosine(zero, one) is None
    assert cosine(one, torch.tensor([1.0, torch.nan, 0.0])) is None


def test_a_cosine_of_tiny_gradients_does_not_underflow() -> None:
    tiny = torch.tensor([1e-200, 2e-200], dtype=torch.float64)
    assert cosine(tiny, 3 * tiny) == pytest.approx(1, abs=1e-12)


def run(
    steps: int = 5, policy: tuple[str, ...] = ("none", "value", "norm"), **net: Any
) -> ClipResult:
    network = NetworkConfig(
        **{"device": "cpu", "depth": 4, "width": 16, "init": "he-normal", **net}
    )
    return clip(network, ClipConfig(steps=steps, policy=policy))


def test_every_policy_sees_the_same_first_gradient() -> None:
    result = run(gain=2)
    assert len({row.norm_before for row in result.records}) == 1
    assert len({row.loss for row in result.history if row.step == 1}) == 1
    none, value, norm = result.records
    assert none.norm_after == none.norm_before
    assert none.cosine == pytest.approx(1)
    assert norm.norm_after == pytest.approx(0.5, rel=1e-4)  # torch divides by norm + 1e-6
    assert norm.cosine == pytest.approx(1, abs=1e-6)
    assert value.cosine < norm.cosine
    assert 0 < value.clipped_fraction < norm.clipped_fraction  # scaling touches all but zeros


def test_layer_shares_add_up_to_the_whole() -> None:
    result = run(gain=2)
    for policy in POLICIES:
        rows = [row for row in result.layers if row.policy == policy]
        assert [row.index for row in rows] == [1, 2, 3, 4, 5]
        assert sum(row.share for row in rows) == pytest.approx(1)
        total = math.sqrt(sum(row.norm**2 for row in rows))
        summary = next(row for row in result.records if row.policy == policy)
        assert total == pytest.approx(summary.norm_after)


def test_norm_scaling_below_its_threshold_trains_exactly_as_no_clipping() -> None:
    network = NetworkConfig(device="cpu", depth=3, width=16)
    result = clip(network, ClipConfig(threshold=1e9, steps=8, policy=("none", "norm")))
    losses = {
        policy: [row.loss for row in result.history if row.policy == policy]
        for policy in ("none", "norm")
    }
    assert losses["none"] == losses["norm"]
    assert losses["none"][-1] < losses["none"][0]


def test_divergence_is_found_and_clipping_by_norm_prevents_it() -> None:
    result = run(steps=30, gain=3, lr=1.0, act="leaky-relu")
    rows = {row.policy: row for row in result.records}
    assert rows["none"].diverged
    assert not rows["norm"].diverged
    assert "diverged" in {finding.code for finding in result.findings}


def test_no_steps_measure_only() -> None:
    result = run(steps=0)
    assert result.history == ()
    assert all(row.final_loss is None and row.diverged is None for row in result.records)


def test_an_interruption_keeps_what_was_done() -> None:
    def stop(policy: str, step: int, steps: int, loss: float) -> None:
        if (policy, step) == ("value", 2):
            raise KeyboardInterrupt

    network = NetworkConfig(device="cpu", depth=2, width=8)
    result = clip(network, ClipConfig(steps=4), stop)
    assert len([r for r in result.history if r.policy == "none"]) == 4
    assert len([r for r in result.history if r.policy == "value"]) == 2
    assert result.findings[0].code == "interrupted"
    assert "none" in result.findings[0].message


def test_several_seeds_and_unknown_policies_are_refused() -> None:
    with pytest.raises(GradflowError, match="one seed"):
        run(seeds=2)
    with pytest.raises(GradflowError, match="unknown policy 'nrom'"):
        run(policy=("nrom",))


def test_a_result_survives_its_document() -> None:
    result = run()
    assert ClipResult.from_dict(result.to_dict()) == result
