"""Whether attention sees one key alone, of any result that says how sharp it is. Stdlib only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gradflow.findings.check import finding
from gradflow.findings.thresholds import SATURATED, SATURATED_ATTENTION, SHARP_ATTENTION
from gradflow.findings.words import indices, named_layers
from gradflow.results.base import Finding
from gradflow.results.names import Named


class Attending(Named, Protocol):
    """A row of a layer of whose output attention may be computed."""

    @property
    def attention_entropy(self) -> float | None:
        """Entropy of its weights as a share of the largest."""

    @property
    def attention_saturated(self) -> float | None:
        """Share of the queries at which the softmax has next to no slope."""


def sharp_attention(records: Sequence[Attending]) -> Finding | None:
    """Return what is said where half of all attention is so sharp that it passes no gradient."""
    known = [row for row in records if row.attention_saturated is not None]
    rows = [row for row in known if _sharp(row)]
    if not rows or len(rows) < len(known) / 2:
        return None
    shares = [row.attention_saturated or 0 for row in known]
    mean, entropy = sum(shares) / len(shares), min(row.attention_entropy or 0 for row in rows)
    return finding(
        "saturated",
        f"attention at {named_layers(rows)} sees few keys: its entropy comes down to {entropy:.0%} "
        f"of the largest, and for up to {max(shares):.0%} of the queries its softmax has less than "
        "1 % of its largest slope",
        "smaller weights of queries and keys, 1/√d in the scores, or normalised queries and keys",
        layers=indices(rows),
        severity="error" if mean >= SATURATED_ATTENTION else "warning",
    )


def _sharp(row: Attending) -> bool:
    flat, entropy = row.attention_saturated or 0, row.attention_entropy
    return flat >= SATURATED or (entropy is not None and entropy <= SHARP_ATTENTION)
