"""What can be asked for: one frozen config per kind of experiment. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.options import (
    at_least,
    check_variance,
    finite,
    non_negative,
    option,
    positive,
    validate,
)

_NET, _RUN, _CLIP = "Network", "Measurement", "Clipping"
#: Architectures whose layers are time steps.
RECURRENT = ("rnn", "lstm", "gru")


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
    """What to clip, how, and what to train under it.

    The network comes from a `NetworkConfig`; every policy starts from the same weights and
    sees the same batches.

    Attributes
    ----------
    task
        A key of `gradflow.tasks.TASKS`; None: the network as it stands.
    steps, sequence_length
        None: the task's own.
    """

    task: str | None = option(
        None,
        "What to train: mlp (the network of the options below), deep-mlp (with too large weights), "
        "adding, copy or mnist-rows (sequences, with --arch rnn, lstm or gru). "
        "Default: deep-mlp, but mlp where a network option is given.",
        complete="task", panel=_CLIP,
    )  # fmt: skip
    threshold: float = option(
        0.5, "Largest entry (value) or L2 norm (norm) of a gradient.", panel=_CLIP, check=positive
    )
    policy: tuple[str, ...] = option(
        ("none", "value", "norm"),
        "none, value, norm, layer-norm, parameter-norm, agc or autoclip; NAME:LIMIT for a limit of "
        "its own, as in norm:5. Repeatable.",
        complete="policy", panel=_CLIP,
    )  # fmt: skip
    steps: int | None = option(
        None, "Training steps under each policy (100; sequences: 300); 0 only measures.",
        panel=_CLIP, check=at_least(0),
    )  # fmt: skip
    optimizer: str = option(
        "sgd", "sgd, adam, … : of torch.optim, with its defaults.", complete="optimizer",
        panel=_CLIP,
    )  # fmt: skip
    nonfinite: str = option(
        "refuse",
        "A gradient with a NaN or an infinity ends the training (refuse) or is set to 0 (zero).",
        complete="nonfinite", panel=_CLIP,
    )  # fmt: skip
    sequence_length: int | None = option(
        None, "Steps of the sequences of adding and copy.", panel=_CLIP, check=at_least(1)
    )
    suggest: bool = option(
        False, "Train unclipped, propose thresholds from the norms met, and try them.",
        "--suggest", panel=_CLIP,
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
