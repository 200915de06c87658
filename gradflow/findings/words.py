"""The words that checks share. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradflow.results.diagnosis import LayerRow


def lost_decades(rate: float | None, layers: int) -> float | None:
    """Return by how many decades δ shrinks over so many layers, from the fitted rate."""
    if rate is None or not 0 < rate < math.inf:
        return None
    return -math.log10(rate) * layers


def named_layers(rows: Sequence[LayerRow | int]) -> str:
    """Return the layers in words: one, a range, or a list."""
    indices = [row if isinstance(row, int) else row.index for row in rows]
    if len(indices) == 1:
        return f"layer {indices[0]}"
    if indices == list(range(indices[0], indices[-1] + 1)):
        return f"layers {indices[0]} to {indices[-1]}"
    return "layers " + ", ".join(map(str, indices))
