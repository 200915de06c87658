"""Clipping policies by name. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow import plugins


@dataclass(frozen=True)
class Policy:
    """A way to clip.

    Attributes
    ----------
    make
        Address of a function, limit -> clipper. A clipper that remembers is made anew for every
        network.
    summary
        What it does, for help and documents.
    limit
        What it takes where none is given with its name; None: the common threshold.
    """

    make: str
    summary: str
    limit: float | None = None


#: name -> policy. A new one is one entry and its function; help, completion and colour follow.
POLICIES: dict[str, Policy] = {
    "none": Policy("gradflow.clipping.policies:nothing", "nothing is clipped"),
    "value": Policy("gradflow.clipping.policies:by_value", "every entry to ± the threshold"),
    "norm": Policy(
        "gradflow.clipping.policies:by_norm", "the whole gradient scaled to a norm of the threshold"
    ),
    "layer-norm": Policy(
        "gradflow.clipping.policies:by_layer",
        "each layer's gradient scaled to a norm of the threshold",
    ),
    "parameter-norm": Policy(
        "gradflow.clipping.policies:by_parameter", "each parameter's gradient scaled to that norm"
    ),
    "agc": Policy(
        "gradflow.clipping.policies:adaptive",
        "each unit's gradient to a share of its weights' norm",
        0.01,
    ),
    "autoclip": Policy(
        "gradflow.clipping.policies:AutoClip", "scaled to a percentile of the recent norms", 10.0
    ),
}


def every() -> dict[str, Policy]:
    """Return the policies by name, with those that other packages add (entry points).

    A further one is named by its entry point, whose object is the function; it is not loaded here.
    """
    for name, address in plugins.points("policies").items():
        POLICIES.setdefault(name, Policy(address, "of another package"))
    return POLICIES
