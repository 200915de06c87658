"""What a user should know of how a module was measured. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from gradflow.findings.words import named_layers
from gradflow.results.base import Finding


def widened(layers: tuple[int, ...]) -> tuple[Finding, ...]:
    """Say that δ left the model's own dtype, and that float64 was measured instead."""
    if not layers:
        return ()
    return (
        Finding(
            "precision",
            "warning",
            layers,
            f"δ under- or overflows the model's own dtype in {named_layers(layers)}; "
            "the magnitudes here were measured again where they are not lost",
            "a wider dtype, or loss scaling",
        ),
    )


def compiled() -> Finding:
    """Say that a compiled model was measured as it was written."""
    return Finding(
        "compiled",
        "info",
        (),
        "the model goes through torch.compile; it was measured through the original module",
        "",
    )


def lazy() -> Finding:
    """Say that a model without shapes was measured on a copy."""
    return Finding(
        "lazy",
        "info",
        (),
        "the model has lazy parameters; a copy of it was initialised and measured",
        "",
    )


def unreached(rows: tuple[int, ...]) -> list[Finding]:
    """Say which trainable layers no gradient reaches."""
    if not rows:
        return []
    return [
        Finding(
            "unreached",
            "warning",
            rows,
            f"no gradient reaches {named_layers(rows)}, which could be trained",
            "is there a no_grad(), a detach() or a reentrant checkpoint (use_reentrant=False)?",
        )
    ]


def shared(groups: Sequence[tuple[int, ...]]) -> list[Finding]:
    """Say which rows have one and the same weight."""
    return [
        Finding(
            "shared",
            "info",
            rows,
            f"{named_layers(rows)} share a weight: each shows its gradient over all of them",
            "",
        )
        for rows in groups
    ]
