"""The thresholds of all checks, and the reason for each. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A number that decides whether something is worth a finding, and why it is this one."""

    name: str
    value: float
    reason: str


#: By name, for whoever wants to list them; checks use the numbers below.
THRESHOLDS: dict[str, Threshold] = {}


def _threshold(name: str, value: float, reason: str) -> float:
    THRESHOLDS[name] = Threshold(name, value, reason)
    return value


DECADES = _threshold(
    "decades",
    2.3,
    "Powers of ten that δ, or the difference between examples, may lose or gain over the hidden "
    "layers before training is at risk: chosen on 120 trained networks (docs/calibration.md).",
)
DEAD = _threshold(
    "dead",
    0.9,
    "Share of units with slope 0 for every example from which a layer stops the gradient. In a "
    "narrow, deep ReLU network a third is dead by chance, and it trains.",
)
DEAD_AFTER_TRAINING = _threshold(
    "dead after training",
    0.5,
    "Share of dead units at the end of training from which a warning is worth it: they no longer "
    "take part, though the network may have trained.",
)
SATURATED = _threshold(
    "saturated",
    0.5,
    "Share of slopes below 1 % of the largest from which saturation explains why δ shrinks.",
)
SATURATED_AFTER_TRAINING = _threshold(
    "saturated after training",
    0.9,
    "The same at the end of training, where confident units are meant to saturate.",
)
UNDERFLOW = _threshold(
    "underflow",
    0.001,
    "Share of a layer's gradient entries that half precision may lose without a word.",
)
CLIPPED_OFTEN = _threshold(
    "clipped often",
    0.5,
    "More than half of the updates clipped: something else is wrong (Godbole et al., Deep "
    "Learning Tuning Playbook, 2023).",
)
TURNED = _threshold(
    "turned",
    0.99,
    "Cosine of the angle between the raw and the clipped gradient below which it is said: 8°.",
)
LEAST_SCALE = _threshold(
    "least scale",
    8,
    "Power of two: a GradScaler starts at 2¹⁶, and what shrinks by less than 2⁸ may be clipping.",
)
BEHIND = _threshold(
    "behind",
    0.02,
    "Test accuracy below the best setting's from which a setting is called out.",
)
SELU_MEAN = _threshold(
    "SELU mean",
    0.1,
    "Distance of an activation's mean from 0 (Klambauer et al. 2017, section 2).",
)
SELU_LEAST_VARIANCE = _threshold(
    "SELU least variance", 0.8, "Of an activation (Klambauer et al. 2017, section 2)."
)
SELU_LARGEST_VARIANCE = _threshold(
    "SELU largest variance", 1.5, "Of an activation (Klambauer et al. 2017, section 2)."
)
ONE_SEED = _threshold(
    "one seed",
    1.0,
    "Logarithm of E‖δ‖⁴/(E‖δ‖²)² from which one random network says little: its ‖δ‖² scatters by "
    "a factor of e (Hanin & Nica 2020).",
)
