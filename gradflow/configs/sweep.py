"""Over what a sweep goes. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs import choices
from gradflow.configs.fields import (
    LAST_SEED,
    at_least,
    check_variance,
    each,
    finite,
    option,
    several,
    validate,
)
from gradflow.configs.memory import ROW, refuse_beyond_memory
from gradflow.configs.network import NetworkConfig

_GRID, _RUN = "Grid", "Measurement"


@dataclass(frozen=True)
class SweepConfig:
    """Networks of every depth, weight variance, bias variance, width and activation named.

    Attributes
    ----------
    weight_variances, bias_variances
        σ_w² and σ_b² of mean-field theory: Var(w) times fan-in, and Var(b).

    Raises
    ------
    GradflowError
        If a value is out of range. Names are checked where they are looked up.
    """

    act: tuple[str, ...] = option(
        ("tanh",),
        "Activation functions: {names}.",
        complete=choices.ACTIVATIONS,
        lists=choices.at("ACTIVATION_NAMES"),
        panel=_GRID,
        several=str,
    )
    depths: tuple[int, ...] = option(
        (5, 10, 15, 20, 25, 30, 40, 50),
        "Numbers of hidden layers; like 10,20 or 10:50:10.",
        panel=_GRID,
        several=int,
        check=each(at_least(1)),
    )
    weight_variances: tuple[float, ...] = option(
        (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0),
        "σ_w², variance of a weight times its fan-in; like 1,2 or 0.5:3:0.1.",
        panel=_GRID,
        several=float,
        check=each(check_variance),
    )
    bias_variances: tuple[float, ...] = option(
        (0.0,), "σ_b², variance of a bias.", panel=_GRID, several=float, check=each(check_variance)
    )
    widths: tuple[int, ...] = option(
        (64,), "Units per hidden layer.", panel=_GRID, several=int, check=each(at_least(1))
    )
    alpha: float | None = option(
        None, "α of ELU and Leaky ReLU (0.2 unless given).", panel=_GRID, check=finite
    )
    batch_size: int = option(64, "Examples in the batch.", panel=_RUN, check=at_least(1))
    data: str = option(
        "gaussian",
        "{names}, or a folder of IDX files.",
        complete=choices.at("DATA"),
        panel=_RUN,
    )
    loss: str = option(
        "cross-entropy", "cross-entropy, bce or mse.", complete=choices.LOSSES, panel=_RUN
    )
    seed: int = option(0, "First seed.", panel=_RUN, check=at_least(0, LAST_SEED))
    seeds: int = option(3, "Independent networks at every point.", panel=_RUN, check=at_least(1))
    device: str = option(
        "auto",
        "{names}, or cuda:N for one of several GPUs.",
        complete=choices.at("DEVICES"),
        panel=_RUN,
    )
    train: int | None = option(
        None,
        "Also train every network for so many steps on images (MNIST unless --data names others).",
        metavar="STEPS",
        panel=_RUN,
        check=at_least(1),
    )
    workers: int = option(1, "Processes to measure on.", panel=_RUN, check=at_least(1, 10_000))

    cluster: str | None = option(
        None,
        "Measure on the dask cluster with this scheduler (dask comes with the extra 'cluster').",
        metavar="tcp://HOST:PORT",
        panel=_RUN,
    )

    def __post_init__(self) -> None:
        for name in ("act", "depths", "weight_variances", "bias_variances", "widths"):
            object.__setattr__(self, name, tuple(dict.fromkeys(several(getattr(self, name)))))
        if self.train is not None and self.data == "gaussian":
            object.__setattr__(self, "data", "mnist")
        validate(self)
        refuse_beyond_memory(f"{self.points:,} points", self.points * ROW, "fewer of them")

    @property
    def points(self) -> int:
        """How many networks of different settings there are."""
        sizes = len(self.act) * len(self.widths) * len(self.depths)
        return sizes * len(self.weight_variances) * len(self.bias_variances)

    def network(self, act: str, width: int, depth: int) -> NetworkConfig:
        """Return the networks of one shape, with σ_w² = 1 and σ_b² = 1.

        Raises
        ------
        GradflowError
            If they take more memory than there is.
        """
        return NetworkConfig(
            depth=depth,
            width=width,
            act=act,
            alpha=self.alpha,
            weight_variance=1.0,
            bias_variance=1.0,
            batch_size=self.batch_size,
            data=self.data,
            loss=self.loss,
            seed=self.seed,
            seeds=self.seeds,
            device=self.device,
        )
