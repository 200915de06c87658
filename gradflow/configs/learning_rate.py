"""How a learning rate is looked for. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs import choices
from gradflow.configs.fields import at_least, option, share, validate

_PANEL = "Learning rate"


@dataclass(frozen=True)
class LearningRateConfig:
    """The optimizer that a rate is for, and how long it is looked for.

    Raises
    ------
    GradflowError
        If a value is out of range. Names are checked where they are looked up.
    """

    optimizer: str = option(
        "adam",
        "Optimizer of torch.optim that the rate is for, with its defaults: {names}.",
        complete=choices.OPTIMIZERS,
        lists=choices.at("OPTIMIZER_NAMES"),
        panel=_PANEL,
    )
    momentum: float | None = option(
        None, "Momentum of an optimizer that has one.", panel=_PANEL, check=share
    )
    steps: int = option(
        13, "Training steps on a copy, each at a larger rate.", panel=_PANEL, check=at_least(4)
    )

    def __post_init__(self) -> None:
        validate(self)
