"""`ACTIVATIONS` in display order, and `activation`, which finds one by any of its names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from gradflow import plugins
from gradflow.activations.base import Activation
from gradflow.activations.catalogue import ENTRIES
from gradflow.errors import GradflowError, unknown_name

ACTIVATIONS: dict[str, Activation] = {entry.name: entry for entry in ENTRIES}


def every() -> dict[str, Activation]:
    """Return the activations by name, with those that other packages add (entry points)."""
    _add_others()
    return ACTIVATIONS


@lru_cache(maxsize=1)
def _add_others() -> None:
    for name, entry in plugins.added("activations"):
        try:
            _add(entry)
        except Exception as error:  # noqa: PERF203 (whatever somebody else's formula does)
            plugins.left_out("activations", name, error)


def _add(entry: Activation) -> None:
    if not isinstance(entry, Activation):
        raise TypeError(f"a {type(entry).__name__} is no gradflow.activations.Activation")
    for word in (entry.name, *entry.aliases):
        if _known(word) is not None:
            raise ValueError(f"the name '{word}' is taken")
    if not (math.isfinite(entry(0.5)) and math.isfinite(entry.max_slope)):
        raise ValueError("its values are not finite")
    ACTIVATIONS[entry.name] = entry


def activation(name: str, **parameters: float | None) -> Activation:
    """Return the activation by that name.

    Parameters
    ----------
    name
        A name or alias; case, ``-``, ``_`` and spaces do not matter.
    **parameters
        ``alpha`` for elu and leaky-relu (0.2 unless given; zero and negative values are allowed,
        as in torch) and for celu (1 unless given; positive). None means the default.

    Raises
    ------
    GradflowError
        For an unknown name, a parameter that the activation does not have, or a value that is
        not finite or outside the formula's domain.
    """
    default = _find(name)
    given = {key: float(value) for key, value in parameters.items() if value is not None}
    for key, value in given.items():
        _check_parameter(default, key, value)
    return _built(default, tuple(sorted(given.items())))


def activations(names: Iterable[str], alpha: float | None = None) -> list[Activation]:
    """Return the activations by these names, each once, with `alpha` for those that have one.

    Raises
    ------
    GradflowError
        As `activation` does, and if `alpha` is given and none of them has one.
    """
    found = list(dict.fromkeys(activation(name) for name in names))
    takers = [phi for phi in found if "alpha" in phi.parameters]
    given = takers or found  # of which the first then refuses it
    return [activation(phi.name, alpha=alpha if phi in given else None) for phi in found]


def _known(name: str) -> Activation | None:
    wanted = _normalised(name)
    for entry in ACTIVATIONS.values():
        if wanted in map(_normalised, (entry.name, *entry.aliases)):
            return entry
    return None


def _find(name: str) -> Activation:
    found = _known(name)
    if found is None:
        _add_others()
        found = _known(name)
    if found is not None:
        return found
    raise unknown_name("activation", name, [*ACTIVATIONS, *_aliases()])


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def _aliases() -> list[str]:
    return [alias for entry in ACTIVATIONS.values() for alias in entry.aliases]


def _check_parameter(entry: Activation, key: str, value: float) -> None:
    if key not in entry.parameters:
        having = [other.name for other in ACTIVATIONS.values() if key in other.parameters]
        hint = f"{key} is for {', '.join(having)}" if having else "leave it out"
        raise GradflowError(f"{entry.name} has no {key}", hint)
    if not math.isfinite(value):
        raise GradflowError(f"{key} = {value} for {entry.name} is not finite", "give a number")


@lru_cache(maxsize=256)
def _built(default: Activation, parameters: tuple[tuple[str, float], ...]) -> Activation:
    if default.family is None or not parameters:
        return default
    return default.family(**dict(parameters))
