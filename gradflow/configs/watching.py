"""How a program is watched. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs.fields import at_least, option, validate


@dataclass(frozen=True)
class WatchConfig:
    """What is recorded of a program that trains models.

    Raises
    ------
    GradflowError
        If a value is out of range.
    """

    steps: int | None = option(
        None,
        "End the program after so many recorded optimizer steps of one model.",
        metavar="N",
        check=at_least(1),
    )
    every: int = option(
        1, "Record every so many steps, from the first on.", metavar="N", check=at_least(1)
    )
    window: int = option(
        8,
        "Sampled batches in which a unit has to give slope 0 for every example to count as dead.",
        metavar="N",
        check=at_least(1),
    )

    def __post_init__(self) -> None:
        validate(self)
