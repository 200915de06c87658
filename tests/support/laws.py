"""How many examples a law is tried with: few in the suite, many in a long run.

python -m pytest --hypothesis-profile=long tests/report/test_laws.py
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: Of the profile that the suite runs under, to which the numbers below are.
USUAL = 100


def tried(examples: int) -> settings:
    """Return settings for a law: so many examples, always the same; in a long run more, at random.

    A network drawn at random may lie on a threshold, where rounding decides.
    """
    factor = max(settings().max_examples // USUAL, 1)
    return settings(
        max_examples=examples * factor,
        derandomize=factor == 1,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
