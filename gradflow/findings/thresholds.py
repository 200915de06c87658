"""Thresholds that several checks share. Standard library only."""

from __future__ import annotations

#: Decades that δ, or the difference between examples, may lose or gain over the hidden layers
#: before training is at risk: chosen on 120 trained networks (docs/calibration.md).
DECADES = 2.3


#: A layer is dead when this share of its units has slope 0 for every example of the batch.
DEAD = 0.9


#: A layer is saturated when this share of its slopes lies below 1 % of the largest.
SATURATED = 0.5


#: Share of a layer's gradient entries that half precision may lose unremarked.
UNDERFLOWS = 0.001
