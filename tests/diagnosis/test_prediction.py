"""Theory beside measurement: δ predicted from the data's first-layer statistics alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from gradflow import NetworkConfig, diagnose
from gradflow.activations import activation
from gradflow.diagnosis.prediction import predict_deltas


def config(**options: Any) -> NetworkConfig:
    return NetworkConfig(**{"device": "cpu", **options})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "options"),
    [
        ("sigmoid", {"init": "default"}),
        ("tanh", {"init": "lecun-normal", "bias_variance": 0.1}),
        ("relu", {"init": "he-normal"}),
        ("leaky-relu", {"init": "default"}),
        ("elu", {"init": "he-normal"}),
        ("selu", {"init": "lecun-normal"}),
    ],
)
def test_predicted_and_measured_rate_are_within_one_percent(
    act: str, options: dict[str, Any]
) -> None:
    result = diagnose(config(act=act, depth=10, width=512, batch_size=16, seeds=8, **options))
    assert result.rate == pytest.approx(result.predicted_rate, rel=0.01)
    for row in result.records:
        # Half a decade in nine layers' products; one network scatters by √(5·10/512)/2 in ln.
        assert row.predicted_delta_log10_rms == pytest.approx(row.delta_log10_rms, abs=0.1)


def test_it_starts_from_the_data_and_not_from_unit_variance() -> None:
    options = config(act="tanh", init="lecun-normal", gain=2, depth=4, width=256, seeds=8)
    result = diagnose(dataclasses.replace(options, data="mnist", batch_size=64))
    for row in result.records:
        assert row.predicted_delta_log10_rms == pytest.approx(row.delta_log10_rms, abs=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"residual": True, "init": "he-normal", "depth": 6},
        {"norm": "batch", "init": "he-normal", "batch_size": 32},
        {"norm": "batch", "norm_position": "post", "act": "tanh", "batch_size": 32},
        {"norm": "layer", "act": "gelu"},
        {"norm": "rms", "residual": True, "norm_position": "post"},
        {"arch": "resmlp", "act": "gelu", "init": "lecun-normal"},
        {"arch": "resmlp", "norm": "batch", "data": "mnist", "batch_size": 32},
        {"arch": "resmlp", "norm": "layer", "loss": "mse", "loss_scale": 100.0},
        {"arch": "cnn", "init": "he-normal", "data": "mnist", "width": 64},
        {"arch": "cnn", "act": "tanh", "init": "lecun-normal", "gain": 1.5, "width": 64},
        {"arch": "transformer", "depth": 3},
        {"arch": "transformer", "depth": 3, "norm_position": "post", "init": "lecun-normal"},
        {"arch": "transformer", "depth": 3, "norm": "none", "loss": "bce"},
    ],
    ids=str,
)
def test_other_networks_are_predicted_part_by_part(options: dict[str, Any]) -> None:
    """At a width of 256, to 0.05: the spread of eight networks' median, and 1/width's terms.

    A convolution of 64 channels sums over 576 inputs.

    Of queries and keys to 0.15: they see what is left of the tokens' differences.
    """
    result = diagnose(config(**{"width": 256, "depth": 8, "batch_size": 16, "seeds": 8, **options}))
    assert result.predicted_rate is not None
    assert result.rate == pytest.approx(result.predicted_rate, rel=0.02)
    for row in result.records:
        attends = row.name.endswith(("query", "key"))
        allowed = 0.15 if attends else 0.05
        assert row.predicted_delta_log10_rms == pytest.approx(row.delta_log10_rms, abs=allowed)


@pytest.mark.parametrize(
    "options",
    [
        {"bias_mean": -1.0},
        {"arch": "cnn", "norm": "layer"},
        {"arch": "cnn", "residual": True},
        {"arch": "cnn", "gain": 1e30},
        {"arch": "lstm"},
        {"arch": "transformer", "norm": "batch"},
        {"norm": "batch", "batch_size": 4},
        {"norm": "batch", "batch_size": 64, "width": 32},
        {"arch": "resmlp", "gain": 1e30},
        {"norm": "layer", "depth": 5000},
        {"residual": True, "depth": 10},
    ],
    ids=str,
)
def test_where_no_theory_is_known_it_says_nothing(options: dict[str, Any]) -> None:
    chosen = config(**{"width": 64, **options})
    inputs = np.random.default_rng(0).standard_normal((chosen.batch_size, 256))
    assert predict_deltas(chosen, activation("relu"), inputs, 10) is None


def test_images_of_many_positions_are_left_to_measurement() -> None:
    chosen = config(arch="cnn", depth=1, width=4, batch_size=2)
    assert predict_deltas(chosen, activation("relu"), np.ones((2, 64 * 64)), 10) is None


def test_it_draws_the_same_numbers_each_time() -> None:
    inputs = np.random.default_rng(0).standard_normal((16, 64))
    chosen = config(arch="resmlp", norm="batch", depth=2)
    first = predict_deltas(chosen, activation("relu"), inputs, 10)
    second = predict_deltas(chosen, activation("relu"), inputs, 10)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.log10_rms, second.log10_rms)


def test_the_band_of_gelu_without_biases_is_wide_because_the_length_map_amplifies() -> None:
    def width(act: str, init: str) -> float:
        options = config(act=act, init=init, depth=20, width=64)
        predicted = predict_deltas(options, activation(act), np.ones((4, 64)), 10)
        assert predicted is not None
        return float(predicted.high[0] - predicted.low[0])

    assert width("gelu", "he-normal") > 3 * width("tanh", "lecun-normal")


def test_the_loss_scale_moves_every_prediction_alike() -> None:
    inputs = np.ones((4, 64))
    one, other = (
        predict_deltas(config(loss_scale=s), activation("relu"), inputs, 10) for s in (1.0, 1e6)
    )
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(other.log10_rms - one.log10_rms, 6, rtol=1e-12)
    assert other.rate() == pytest.approx(one.rate())
