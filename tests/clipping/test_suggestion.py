"""Thresholds from the norms of unclipped training."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.clipping.policies import clipping
from gradflow.clipping.run import clip
from gradflow.clipping.suggestion import (
    below,
    between,
    distribution,
    histogram,
    proposals,
    tail_index,
)
from gradflow.clipping.tasks import network_for
from gradflow.clipping.training import TrainingCurves, norms_met
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.network import NetworkConfig
from gradflow.results.clipping import ClipResult, best_of

norm_lists = st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=50).map(np.array)


@pytest.mark.parametrize("index", [0.8, 1.5, 3.0])
def test_hills_estimate_finds_the_index_of_a_pareto_tail(index: float) -> None:
    values = 1 + np.random.default_rng(0).pareto(index, 20_000)
    # Of 2,000 values: standard error index/√2000, here allowed four of them.
    assert tail_index(values) == pytest.approx(index, rel=4 / math.sqrt(2000))


def test_normal_and_exponential_norms_have_no_heavy_tail_and_cauchys_have() -> None:
    rng = np.random.default_rng(1)
    light = (np.abs(rng.standard_normal(5000)), rng.exponential(size=5000))
    assert [distribution(norms)[0].heavy_tail for norms in light] == [False, False]
    assert distribution(np.abs(rng.standard_cauchy(5000)))[0].heavy_tail


def test_few_norms_and_equal_ones_have_no_tail() -> None:
    assert tail_index(np.arange(1.0, 100.0)) is None
    assert tail_index(np.ones(200)) is None
    assert distribution(np.zeros(0)) == ()
    assert histogram(np.zeros(0)) == ()
    assert proposals(np.zeros(0)) == {}


@given(norm_lists)
def test_the_histogram_counts_every_norm_once(norms: np.ndarray) -> None:
    classes = histogram(norms)
    assert sum(row.count for row in classes) == len(norms)
    assert len(classes) <= 40
    for first, second in itertools.pairwise(classes):
        assert first.high == second.low


@given(norm_lists)
def test_proposals_are_the_percentiles_and_pascanus_multiples(norms: np.ndarray) -> None:
    proposed = proposals(norms)
    assert list(proposed.values()) == sorted(set(proposed.values()))
    three = {
        float(f"{v:.3g}")
        for v in (
            *np.percentile(norms, [10, 50, 90]),
            *(norms.mean() * np.array([0.5, 1, 2, 5, 10])),
        )
    }
    assert set(proposed.values()) == three


def test_lower_thresholds_reach_two_decades_down_and_those_between_fill_the_gaps() -> None:
    assert list(below(5.0).values()) == pytest.approx([1.58, 0.5, 0.158, 0.05], rel=1e-3)
    assert list(between(1.0, [0.5, 1.0, 8.0]).values()) == pytest.approx([2, 4])
    assert between(1.0, [0.6, 1.0, 1.9]) == {}
    assert between(1.0, [1.0]) == {}
    gaps = sorted([0.2, 1.0, 9.0, *between(1.0, [0.2, 1.0, 9.0]).values()])
    assert all(high / low <= 2.01 for low, high in itertools.pairwise(gaps))


def test_an_explosion_is_left_out_of_the_norms() -> None:
    loss = np.array([[1.0, 1.0], [2.0, 11.0], [3.0, 2.0]])
    norms = np.array([[1.0, 2.0], [3.0, 1e9], [0.0, 7.0]])
    curves = TrainingCurves(clipping("none", 1), loss, norms, norms, np.zeros(2, dtype=np.int64))
    assert sorted(norms_met(curves, 0.5)) == [1, 2, 3]
    assert norms_met(None, 1.0).size == 0


def test_where_unclipped_training_explodes_a_threshold_far_below_its_norms_is_found() -> None:
    given = {"arch": "rnn", "width": 16, "batch_size": 8, "seeds": 2, "device": "cpu", "lr": 0.3}
    network = network_for("adding", NetworkConfig(**given), given)  # type: ignore[arg-type]
    config = ClipConfig(task="adding", sequence_length=20, steps=40, suggest=True)
    result = clip(network, config)
    assert result.records[0].diverged
    assert result.suggested is not None
    best = best_of(result.records)
    assert best is not None
    assert not best.diverged
    assert result.suggested > min(r.threshold for r in result.records[1:])


def suggested(steps: int = 30) -> ClipResult:
    given = {"arch": "rnn", "width": 8, "batch_size": 8, "seeds": 3, "device": "cpu", "lr": 0.3}
    network = network_for("copy", NetworkConfig(**given), given)  # type: ignore[arg-type]
    config = ClipConfig(task="copy", sequence_length=12, steps=steps, suggest=True)
    return clip(network, config)


def test_every_proposal_is_tried_and_the_best_is_suggested() -> None:
    result = suggested()
    raw, *tried = result.records
    assert raw.policy == "none"
    met = [r for r in result.history if r.policy == "none"]
    assert len(met) == 30
    (row,) = result.distribution
    assert row.updates == 30 * 3
    assert sum(c.count for c in result.norms) == row.updates
    assert all(r.proposal for r in tried)
    assert [r.threshold for r in tried] == sorted(r.threshold for r in tried)
    assert result.suggested == best_of(result.records).threshold  # type: ignore[union-attr]
    highest = max(r.norm_high or 0 for r in met)
    for r in tried:
        if (r.threshold or 0) > highest:  # never engages: the same training to the bit
            assert (r.final_loss, r.engaged_fraction) == (raw.final_loss, 0)
        elif (r.threshold or 0) < min(m.norm_low or 0 for m in met):
            assert (r.engaged_fraction or 0) > 0.5
    assert {"suggested", "overclipped"} <= {f.code for f in result.findings}
    assert ClipResult.from_dict(result.to_dict()) == result
    assert "final loss" in result.title


def test_an_interruption_while_trying_keeps_the_unclipped_training() -> None:
    given = {"arch": "rnn", "width": 8, "batch_size": 8, "device": "cpu"}
    network = network_for("copy", NetworkConfig(**given), given)  # type: ignore[arg-type]

    def stop(what: str, step: int, steps: int, loss: float) -> None:
        if what != "unclipped":
            raise KeyboardInterrupt

    config = ClipConfig(task="copy", sequence_length=12, steps=12, suggest=True)
    result = clip(network, config, stop)
    assert result.findings[0].code == "interrupted"
    assert len([r for r in result.history if r.policy == "none"]) == 12
    assert result.distribution


def test_a_network_that_does_not_train_is_given_no_threshold_below_its_norms() -> None:
    """Dead units: nothing learns and nothing explodes, whatever the steps are cut to."""
    given = {"act": "relu", "bias_mean": -10.0, "depth": 3, "width": 8, "device": "cpu"}
    network = network_for("mlp", NetworkConfig(**given), set(given))  # type: ignore[arg-type]
    result = clip(network, ClipConfig(task="mlp", steps=12, suggest=True))
    tried = result.records[1:]
    lowest = min(r.norm_low or 0 for r in result.history if r.policy == "none")
    assert {row.outcome for row in result.records} == {"stalls"}
    assert all((row.threshold or 0) > lowest / 3 for row in tried)
    assert result.title.endswith("and that is no training")
