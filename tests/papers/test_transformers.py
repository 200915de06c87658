"""Xiong et al. 2020; Noci et al. 2022, measured by gradflow."""

from __future__ import annotations

import pytest
from published import transformers
from published.claims import Claim


@pytest.mark.parametrize("claim", transformers.CLAIMS, ids=lambda claim: claim.what)
def test_it_is_as_published(claim: Claim) -> None:
    low, high = claim.bounds
    assert low <= claim.measured().mean <= high


@pytest.mark.parametrize("part", ["query", "key"])
def test_tokens_that_differ_give_queries_and_keys_a_gradient(part: str) -> None:
    assert transformers.gradient_of(part, False)[0] > 0.01
