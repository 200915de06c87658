"""He 2015; Hanin & Rolnick 2018; Lu 2020; Roberts, Yaida & Hanin 2022, measured by gradflow."""

from __future__ import annotations

import math

import pytest
from published import chains
from published.claims import Claim


@pytest.mark.parametrize("claim", chains.CLAIMS, ids=lambda claim: claim.what)
def test_it_is_as_published(claim: Claim) -> None:
    low, high = claim.bounds
    assert low <= claim.measured().mean <= high


@pytest.mark.parametrize(
    ("width", "depth", "low", "high"), [(2, 10, 0.870, 0.925), (4, 20, 0.520, 0.707)]
)
def test_the_bounds_on_the_dead_are_those_published(
    width: int, depth: int, low: float, high: float
) -> None:
    assert chains.born_dead_bounds(width, depth) == pytest.approx((low, high), abs=6e-4)


def test_the_loss_of_vggs_gradient_is_the_published_product() -> None:
    """5.9 · 4.2² · 2.9² · 2.1⁴, "1.7 × 10⁴"."""
    claim = next(c for c in chains.CLAIMS if c.paper.startswith("He"))
    assert claim.expected == pytest.approx(1.7e4, rel=0.1)
    filters = math.sqrt(9 * 64 / 2) * 0.01
    assert 1 / filters == pytest.approx(5.9, abs=0.05)
