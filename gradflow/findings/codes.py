"""Every finding's code. Standard library only."""

from __future__ import annotations

#: What --fail-on can name.
CODES = ("vanishing", "exploding", "dead", "saturated", "broken", "diverged", "underflow")
