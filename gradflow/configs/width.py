"""Over which widths a network is trained, and how. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gradflow.configs import choices
from gradflow.configs.fields import at_least, each, option, positive, several, validate
from gradflow.configs.network import NetworkConfig
from gradflow.errors import GradflowError

_PANEL, _RUN = "Widths", "Measurement"


@dataclass(frozen=True)
class WidthConfig:
    """Widths, an optimizer, and how many steps it takes at each.

    Raises
    ------
    GradflowError
        If a value is out of range, or there are fewer than two widths. Names are checked where
        they are looked up.
    """

    widths: tuple[int, ...] = option(
        (64, 128, 256, 512),
        "Widths, from the smallest to at least twice that; like 64,128,256.",
        panel=_PANEL,
        several=int,
        check=each(at_least(1)),
    )
    optimizer: str = option(
        "adam",
        "Optimizer by its name in torch.optim, with its defaults, unless the model's function "
        "returns one.",
        complete=choices.OPTIMIZERS,
        panel=_PANEL,
    )
    steps: int = option(
        4, "Training steps, all on the same batch.", panel=_PANEL, check=at_least(1, 10_000)
    )
    workers: int = option(1, "Processes to train on.", panel=_PANEL, check=at_least(1, 10_000))
    cluster: str | None = option(
        None,
        "Train on the dask cluster with this scheduler (dask comes with the extra 'cluster').",
        metavar="tcp://HOST:PORT",
        panel=_PANEL,
    )

    def __post_init__(self) -> None:
        widths = tuple(sorted(dict.fromkeys(several(self.widths))))
        object.__setattr__(self, "widths", widths)
        validate(self)
        if len(widths) < 2 or widths[-1] < 2 * widths[0]:
            raise GradflowError(
                "--widths needs at least two widths, the largest at least twice the smallest",
                "like --widths 64,128,256",
            )


@dataclass(frozen=True)
class WidthNetwork(NetworkConfig):
    """A built-in network of any width, and what is said of a model of your own."""

    depth: int = option(
        3, "Number of hidden layers (blocks, time steps).", panel="Network", check=at_least(1)
    )
    width: int = field(default=64)  # `WidthConfig.widths` says it
    lr: float = option(
        1e-3,
        "Learning rate, unless the model's function returns an optimizer.",
        panel=_RUN,
        check=positive,
    )
    seeds: int = option(5, "Independent networks at every width.", panel=_RUN, check=at_least(1))

    def of(self, width: int, seed: int) -> NetworkConfig:
        """Return one network of a width and a seed."""
        return replace(self, width=width, seed=seed, seeds=1)
