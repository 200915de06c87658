"""Glorot & Bengio 2010; Pennington et al. 2017, measured by gradflow."""

from __future__ import annotations

import pytest
from published import jacobians
from published.claims import Claim


@pytest.mark.parametrize("claim", jacobians.CLAIMS, ids=lambda claim: claim.what)
def test_it_is_as_published(claim: Claim) -> None:
    low, high = claim.bounds
    assert low <= claim.measured().mean <= high
