"""What can be asked for: one frozen config per kind of experiment. Standard library only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gradflow.errors import GradflowError
from gradflow.options import (
    at_least,
    check_variance,
    finite,
    non_negative,
    option,
    positive,
    validate,
)
from gradflow.results.base import plain

_NET, _RUN, _TRAIN, _RUNS = "Network", "Measurement", "Training", "Run"
_CLIP_VALUE = 0.5
#: Architectures whose layers are time steps.
RECURRENT = ("rnn", "lstm", "gru")
#: Fields of a benchmark that do not change a number.
_CIRCUMSTANCES = ("workers", "output_dir", "resume")


@dataclass(frozen=True)
class NetworkConfig:
    """A network, its data and its loss: all that a measurement at initialisation needs.

    Attributes
    ----------
    depth
        Number of hidden layers; the output layer comes on top.
    weight_variance, bias_variance
        σ_w² and σ_b² of mean-field theory: Var(w) times fan-in, and Var(b).
    gain
        Multiplies the standard deviation of the weights that the initialiser would give.

    Raises
    ------
    GradflowError
        If a value is out of range. Names are checked where they are looked up.
    """

    arch: str = option(
        "mlp", "mlp, cnn, resmlp, rnn, lstm, gru or transformer.", complete="arch", panel=_NET
    )
    depth: int = option(
        10, "Hidden layers; blocks of resmlp and transformer; time steps of rnn, lstm and gru.",
        panel=_NET, check=at_least(1),
    )  # fmt: skip
    width: int = option(64, "Units (channels) per hidden layer.", panel=_NET, check=at_least(1))
    act: str = option(
        "",
        "Activation function: relu unless given, tanh in rnn.",
        complete="activation",
        panel=_NET,
    )
    alpha: float | None = option(
        None, "α of ELU and Leaky ReLU (0.2 unless given).", panel=_NET, check=finite
    )
    init: str = option("default", "Initialisation of the weights.", complete="init", panel=_NET)
    gain: float = option(
        1.0, "Multiplies the weights' standard deviation.", panel=_NET, check=positive
    )
    weight_variance: float | None = option(
        None, "σ_w²: Gaussian weights of variance σ_w²/fan-in.", panel=_NET, check=non_negative
    )
    bias_variance: float | None = option(
        None, "σ_b²: Gaussian biases of this variance.", panel=_NET, check=non_negative
    )
    bias_mean: float = option(0.0, "Added to every hidden bias.", panel=_NET, check=finite)
    norm: str = option(
        "", "Normalisation: none, batch, layer or rms; none unless given, layer in transformer.",
        complete="norm", panel=_NET,
    )  # fmt: skip
    norm_position: str = option(
        "pre", "pre or post: before the activation (the residual branch), or after it (the sum).",
        complete="norm-position", panel=_NET,
    )  # fmt: skip
    spectral_radius: float | None = option(
        None, "Scale the recurrent matrix of rnn, lstm or gru (each gate's) to this.", panel=_NET,
        check=positive,
    )  # fmt: skip
    residual: bool = option(
        False, "Add each hidden layer's input to its output (from the second on).", "--residual",
        panel=_NET,
    )  # fmt: skip
    data: str = option(
        "gaussian", "gaussian, mnist, or a folder of IDX files.", complete="data", panel=_RUN
    )
    batch_size: int = option(64, "Examples in the batch.", panel=_RUN, check=at_least(1))
    loss: str = option("cross-entropy", "cross-entropy, bce or mse.", complete="loss", panel=_RUN)
    loss_scale: float = option(1.0, "Multiplies the loss.", panel=_RUN, check=positive)
    lr: float = option(
        0.01, "Learning rate that the update ratio is for.", panel=_RUN, check=positive
    )
    seed: int = option(0, "First seed.", panel=_RUN, check=at_least(0))
    seeds: int = option(1, "Independent networks to measure.", panel=_RUN, check=at_least(1))
    dtype: str = option(
        "float32", "float32, float64; float16 or bfloat16: and what underflows there.",
        complete="dtype", panel=_RUN,
    )  # fmt: skip
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", complete="device", panel=_RUN)

    def __post_init__(self) -> None:
        validate(self)
        usual = {"act": "tanh" if self.arch in RECURRENT else "relu"}
        usual["norm"] = "layer" if self.arch == "transformer" else "none"
        for name, value in usual.items():
            object.__setattr__(self, name, getattr(self, name) or value)


@dataclass(frozen=True)
class ClipConfig:
    """What to clip, how, and for how many steps to train under it.

    The network comes from a `NetworkConfig`; every policy starts from the same weights and
    sees the same batches.
    """

    threshold: float = option(
        0.5, "Largest entry (value) or L2 norm (norm) of a gradient.", panel="Clipping",
        check=positive,
    )  # fmt: skip
    policy: tuple[str, ...] = option(
        ("none", "value", "norm"), "none, value or norm. Repeatable.", complete="policy",
        panel="Clipping",
    )  # fmt: skip
    steps: int = option(
        100, "Training steps under each policy; 0 only measures.", panel="Clipping",
        check=at_least(0),
    )  # fmt: skip

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class TheoryConfig:
    """A wide random network of equal layers, as mean-field theory knows it.

    Raises
    ------
    GradflowError
        If a value is out of range. The activation is checked where it is looked up.
    """

    activation: str = "tanh"
    alpha: float | None = option(None, "α of ELU and Leaky ReLU (0.2 unless given).", check=finite)
    weight_variance: float | None = option(
        None,
        "σ_w², variance of a weight times its fan-in (the critical one where it exists, else 1).",
        check=check_variance,
    )
    bias_variance: float = option(0.0, "σ_b², variance of a bias.", check=check_variance)
    input_variance: float = option(1.0, "Mean square of the inputs.", check=check_variance)
    depth: int = option(50, "Layers.", check=at_least(1))

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class BenchmarkConfig:
    """What to train, and for how long. The defaults are the article's.

    Attributes
    ----------
    alpha
        Goes to those of the activations that have one; refused where none does.
    clip_value, clip_norm
        Largest entry of a gradient (0: any), or instead the largest L2 norm of all together.
    seeds, seed
        Runs per activation: seed, seed + 1, …; a seed gives every activation the same order of
        images, so that differences can be taken seed by seed.
    train_size
        The first so many training images; None: all.
    data
        ``mnist``, or a folder as in `gradflow.mnist.load`.
    workers
        Processes; None: as many as there are processors for (one for a GPU).

    Raises
    ------
    GradflowError
        If a value is out of range. Names are checked where they are looked up.
    """

    act: tuple[str, ...] = option(
        ("sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu"),
        "Activation function. Repeatable; default: the article's six.",
        complete="activation", panel=_TRAIN,
    )  # fmt: skip
    alpha: float | None = option(
        None, "α of ELU and Leaky ReLU (0.2 unless given).", panel=_TRAIN, check=finite
    )
    epochs: int = option(3, "Passes over the training set.", panel=_TRAIN, check=at_least(1))
    batch_size: int = option(128, "Images per step.", panel=_TRAIN, check=at_least(1))
    lr: float = option(1e-3, "Learning rate.", panel=_TRAIN, check=positive)
    optimizer: str = option(
        "adam", "adam, sgd, … : any of torch.optim.", complete="optimizer", panel=_TRAIN
    )
    clip_value: float = option(
        _CLIP_VALUE, "Clip gradient entries to ± this; 0: do not.", panel=_TRAIN, check=non_negative
    )
    clip_norm: float | None = option(
        None, "Instead, scale the gradient to at most this L2 norm.", panel=_TRAIN, check=positive
    )  # fmt: skip
    seeds: int = option(1, "Training runs per activation.", panel=_RUNS, check=at_least(1))
    seed: int = option(0, "First seed.", panel=_RUNS, check=at_least(0))
    train_size: int | None = option(
        None, "Train on the first so many images only.", panel=_TRAIN, check=at_least(1)
    )
    data: str = option("mnist", "mnist, or a folder of IDX files.", complete="data", panel=_TRAIN)
    precision: str = option("fp32", "fp32, tf32 or bf16.", complete="precision", panel=_RUNS)
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", complete="device", panel=_RUNS)
    workers: int | None = option(
        None, "Processes that train side by side.", panel=_RUNS, check=at_least(1)
    )
    output_dir: str | None = option(
        None, "Write the config and every epoch to this folder as they come.", panel=_RUNS,
        metavar="DIR",
    )  # fmt: skip
    resume: bool = option(False, "Continue the run in --output-dir.", "--resume", panel=_RUNS)

    def __post_init__(self) -> None:
        validate(self)
        if not self.act:
            raise GradflowError("no activation was given", "name one: --act relu")
        if self.clip_norm is not None and self.clip_value not in (0, _CLIP_VALUE):
            raise GradflowError("--clip-value and --clip-norm exclude each other", "drop one")
        if self.resume and self.output_dir is None:
            raise GradflowError("--resume needs --output-dir", "name the folder of the run")

    def settings(self) -> dict[str, Any]:
        """Return what the numbers depend on, as plain values."""
        everything = plain(dataclasses.asdict(self))
        return {k: v for k, v in everything.items() if k not in _CIRCUMSTANCES}
