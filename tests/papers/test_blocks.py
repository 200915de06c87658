"""Yang et al. 2019; De & Smith 2020, measured by gradflow."""

from __future__ import annotations

import pytest
from published import blocks
from published.claims import Claim


@pytest.mark.parametrize("claim", blocks.CLAIMS, ids=lambda claim: claim.what)
def test_it_is_as_published(claim: Claim) -> None:
    low, high = claim.bounds
    assert low <= claim.measured().mean <= high
