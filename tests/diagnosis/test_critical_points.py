"""Critical weights of activations that have none without biases."""

from __future__ import annotations

import pytest

import gradflow
from gradflow import NetworkConfig
from gradflow.diagnosis.remedies.configs import critical


@pytest.mark.parametrize(
    ("act", "bias", "weight"), [("gelu", 0.1729, 1.983), ("silu", 0.5551, 1.988)]
)
def test_they_are_those_published_and_keep_thirty_layers_healthy(
    act: str, bias: float, weight: float
) -> None:
    """Roberts, Yaida & Hanin 2022, section 5.3.4; σ_b² is rounded up, away from the edge's end."""
    config = NetworkConfig(act=act, depth=30)
    assert gradflow.diagnose(config).verdict == "vanishing"
    mended = critical(config)
    assert mended is not None
    assert mended.bias_variance == pytest.approx(bias, rel=2e-3)
    assert mended.weight_variance == pytest.approx(weight, rel=1e-3)
    assert gradflow.diagnose(mended).verdict == "healthy"


def test_biases_that_are_given_and_have_an_edge_stay() -> None:
    mended = critical(NetworkConfig(act="gelu", bias_variance=0.5))
    assert mended is not None
    assert mended.bias_variance == 0.5


def test_softplus_has_none() -> None:
    assert critical(NetworkConfig(act="softplus")) is None
