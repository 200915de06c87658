"""What `clip` compares, and on what. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs import choices
from gradflow.configs.fields import (
    at_least,
    option,
    positive,
    validate,
)


@dataclass(frozen=True)
class ClipConfig:
    """What to clip, how, and what to train under it.

    The network comes from a `NetworkConfig`; every policy starts from the same weights and
    sees the same batches.

    Attributes
    ----------
    task
        A key of `gradflow.configs.tasks.TASKS`; None: the network as it stands.
    steps, sequence_length
        None: the task's own.
    """

    task: str | None = option(
        None,
        "What to train: {described}; sequences with --arch rnn, lstm or gru. "
        "Default: deep-mlp, but mlp where a network option is given.",
        complete="gradflow.configs.tasks:TASKS",
        panel="Clipping",
    )
    threshold: float = option(
        0.5,
        "Largest entry (value) or L2 norm (norm) of a gradient.",
        panel="Clipping",
        check=positive,
    )
    policy: tuple[str, ...] = option(
        ("none", "value", "norm"),
        "{names}; NAME:LIMIT for a limit of its own, as in norm:5. Repeatable.",
        complete="gradflow.configs.policies:every",
        lists="gradflow.configs.policies:POLICIES",
        panel="Clipping",
    )
    steps: int | None = option(
        None,
        "Training steps under each policy (100; sequences: 300); 0 only measures.",
        panel="Clipping",
        check=at_least(0),
    )
    optimizer: str = option(
        "sgd",
        "Optimizer of torch.optim, with its defaults: {names}.",
        complete=choices.OPTIMIZERS,
        lists=choices.at("OPTIMIZER_NAMES"),
        panel="Clipping",
    )
    nonfinite: str = option(
        "refuse",
        "Where a gradient has a NaN or an infinity: {described}.",
        complete=choices.at("NONFINITE"),
        panel="Clipping",
    )
    sequence_length: int | None = option(
        None, "Steps of the sequences of adding and copy.", panel="Clipping", check=at_least(1)
    )
    suggest: bool = option(
        False,
        "Train unclipped, propose thresholds from the norms met, and try them.",
        "--suggest",
        panel="Clipping",
    )

    def __post_init__(self) -> None:
        validate(self)
