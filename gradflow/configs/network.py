"""What can be asked for: one frozen config per kind of experiment. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs.fields import (
    at_least,
    finite,
    non_negative,
    option,
    positive,
    validate,
)

_NET, _RUN = "Network", "Measurement"
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
        10,
        "Hidden layers; blocks of resmlp and transformer; time steps of rnn, lstm and gru.",
        panel=_NET,
        check=at_least(1),
    )
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
        "",
        "Normalisation: none, batch, layer or rms; none unless given, layer in transformer.",
        complete="norm",
        panel=_NET,
    )
    norm_position: str = option(
        "pre",
        "pre or post: before the activation (the residual branch), or after it (the sum).",
        complete="norm-position",
        panel=_NET,
    )
    spectral_radius: float | None = option(
        None,
        "Scale the recurrent matrix of rnn, lstm or gru (each gate's) to this.",
        panel=_NET,
        check=positive,
    )
    residual: bool = option(
        False,
        "Add each hidden layer's input to its output (from the second on).",
        "--residual",
        panel=_NET,
    )
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
        "float32",
        "float32, float64; float16 or bfloat16: and what underflows there.",
        complete="dtype",
        panel=_RUN,
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", complete="device", panel=_RUN)

    def __post_init__(self) -> None:
        validate(self)
        usual = {"act": "tanh" if self.arch in RECURRENT else "relu"}
        usual["norm"] = "layer" if self.arch == "transformer" else "none"
        for name, value in usual.items():
            object.__setattr__(self, name, getattr(self, name) or value)
