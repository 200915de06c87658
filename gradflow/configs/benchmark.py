"""What a benchmark is asked for. Standard library only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gradflow.configs import choices
from gradflow.configs.fields import (
    LAST_SEED,
    at_least,
    each,
    finite,
    non_negative,
    option,
    positive,
    several,
    share,
    validate,
)
from gradflow.configs.memory import ROW, refuse_beyond_memory
from gradflow.errors import GradflowError
from gradflow.results.base import plain

_RUNS, _TRAIN, _GRID = "Run", "Training", "Training: one value, or several to compare"
#: Fields of a benchmark that do not change a number.
CIRCUMSTANCES = ("workers", "cluster", "output_dir", "resume", "target")
CLIP_VALUE = 0.5


@dataclass(frozen=True)
class BenchmarkConfig:
    """What to train, and for how long. The defaults are the article's.

    A field that takes several values is an axis of the grid of what is trained.

    Attributes
    ----------
    alpha
        Goes to those of the activations that have one; refused where none does.
    dropout
        ``P`` or ``P/Q``: share of units dropped after the last but one and after the last hidden
        layer; none given: as the architecture has it.
    clip_value, clip_norm
        Largest entry of a gradient, largest L2 norm of all together (0: any). Each value of
        either is one way of clipping; none given: by value at 0.5.
    seeds, seed
        Runs per setting: seed, seed + 1, …; a seed gives every setting the same order of
        images, so that differences can be taken seed by seed.
    train_size
        The first so many training images; None: all but the validation set.
    validation_size
        The last so many training images, held out; None: a sixth, at most 10,000.
    data
        ``mnist``, or a folder as in `gradflow.datasets.images.load`.
    workers
        Processes; None: as many as there are processors for (one for a GPU).
    cluster
        Address of a dask scheduler, whose workers train in the place of processes.

    Raises
    ------
    GradflowError
        If a value is out of range. Names are checked where they are looked up.
    """

    act: tuple[str, ...] | str = option(
        ("sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu"),
        "Activation functions: {names}. Default: the article's six.",
        complete=choices.ACTIVATIONS,
        lists=choices.at("ACTIVATION_NAMES"),
        panel=_GRID,
        several=str,
    )
    arch: tuple[str, ...] | str = option(
        ("cnn",),
        "Networks: {described}.",
        complete="gradflow.configs.classifiers:CLASSIFIERS",
        panel=_GRID,
        several=str,
    )
    init: tuple[str, ...] | str = option(
        ("keras",),
        "Initialisations: keras (the article's), {names}.",
        complete="gradflow.benchmarking.networks.classifiers:initializer_names",
        lists=choices.at("INITIALIZER_NAMES"),
        panel=_GRID,
        several=str,
    )
    optimizer: tuple[str, ...] | str = option(
        ("adam",),
        "Optimizers of torch.optim: {names}.",
        complete=choices.OPTIMIZERS,
        lists=choices.at("OPTIMIZER_NAMES"),
        panel=_GRID,
        several=str,
    )
    lr: tuple[float, ...] | float = option(
        (1e-3,),
        "Learning rates.",
        "--lr",
        "--learning-rate",
        panel=_GRID,
        check=each(positive),
        several=float,
    )
    batch_size: tuple[int, ...] | int = option(
        (128,), "Images per step.", panel=_GRID, check=each(at_least(1)), several=int
    )
    dropout: tuple[str, ...] | str | float = option(
        (),
        "P or P/Q: share dropped before, and after, the last hidden layer (0.25/0.5 in cnn).",
        panel=_GRID,
        several=str,
    )
    clip_value: tuple[float, ...] | float = option(
        (),
        f"Clip gradient entries to ± this ({CLIP_VALUE}, unless --clip-norm is given); 0: do not.",
        panel=_GRID,
        check=each(non_negative),
        several=float,
    )
    clip_norm: tuple[float, ...] | float = option(
        (),
        "Scale the gradient to at most this L2 norm; 0: do not.",
        panel=_GRID,
        check=each(non_negative),
        several=float,
    )
    alpha: float | None = option(
        None, "α of ELU and Leaky ReLU (0.2 unless given).", panel=_TRAIN, check=finite
    )
    epochs: int = option(3, "Passes over the training set.", panel=_TRAIN, check=at_least(1))
    train_size: int | None = option(
        None, "Train on the first so many images only.", panel=_TRAIN, check=at_least(1)
    )
    validation_size: int | None = option(
        None,
        "Hold out the last so many training images (a sixth, at most 10,000).",
        panel=_TRAIN,
        check=at_least(0),
    )
    data: str = option(
        "mnist",
        "{names}, or a folder of IDX files.",
        complete=choices.at("IMAGES"),
        panel=_TRAIN,
    )
    target: float | None = option(
        None,
        "Say how long each takes to this test accuracy, such as 0.99.",
        panel=_TRAIN,
        check=share,
    )
    seeds: int = option(1, "Training runs per setting.", panel=_RUNS, check=at_least(1))
    seed: int = option(0, "First seed.", panel=_RUNS, check=at_least(0, LAST_SEED))
    precision: str = option("fp32", "{names}.", complete=choices.at("PRECISIONS"), panel=_RUNS)
    device: str = option(
        "auto",
        "{names}, or cuda:N for one of several GPUs.",
        complete=choices.at("DEVICES"),
        panel=_RUNS,
    )
    workers: int | None = option(
        None, "Processes that train side by side.", panel=_RUNS, check=at_least(1)
    )
    cluster: str | None = option(
        None,
        "Train on the dask cluster with this scheduler (dask comes with the extra 'cluster').",
        metavar="tcp://HOST:PORT",
        panel=_RUNS,
    )
    output_dir: str | None = option(
        None,
        "Keep config, epochs, checkpoints, figure and table in this folder as they come.",
        panel=_RUNS,
        metavar="DIR",
    )
    resume: bool = option(
        False,
        "Continue the run in --output-dir; it may get more --act, --seeds, --epochs.",
        "--resume",
        panel=_RUNS,
    )

    def __post_init__(self) -> None:
        validate(self)
        if not several(self.act):
            raise GradflowError("no activation was given", "name one: --act relu")
        rows = self.seeds * self.epochs
        asked = f"--seeds {self.seeds} --epochs {self.epochs}"
        refuse_beyond_memory(asked, rows * ROW, "fewer of them")
        if self.resume and self.output_dir is None:
            raise GradflowError("--resume needs --output-dir", "name the folder of the run")

    def settings(self) -> dict[str, Any]:
        """Return what the numbers depend on, as plain values."""
        values = {
            f.name: several(getattr(self, f.name))
            if f.metadata["option"].several
            else getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in CIRCUMSTANCES
        }
        return {name: plain(value) for name, value in values.items()}
