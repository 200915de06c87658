"""What can be asked for: one frozen config per kind of experiment. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.configs import choices
from gradflow.configs.architectures import (
    ARCHITECTURES,
    Architecture,
    architecture,
    names_with,
)
from gradflow.configs.fields import (
    LAST_SEED,
    at_least,
    finite,
    non_negative,
    option,
    positive,
    validate,
)
from gradflow.configs.memory import LAYER, NUMBER, ROW, refuse_beyond_memory
from gradflow.configs.registries import listed

_NET, _RUN = "Network", "Measurement"
#: Architectures whose layers are time steps.
RECURRENT = tuple(names_with("recurrent", True))


def _depth_help() -> str:
    """What depth counts, architecture by architecture where it is not hidden layers."""
    counted = dict.fromkeys(a.depth for a in ARCHITECTURES.values())
    usual = Architecture.depth
    others = (
        f"; {word} of {listed(names_with('depth', word), 'and')}"
        for word in counted
        if word != usual
    )
    return f"{usual.capitalize()}{''.join(others)}."


def _recurrent() -> str:
    return listed(names_with("recurrent", True))


def _usual_help(field: str, takes: str) -> str:
    """A field's usual value, and the architectures for which it is another."""
    usual = getattr(Architecture, field)
    able = names_with(takes, True)
    own = {name: value for name in able if (value := getattr(ARCHITECTURES[name], field)) != usual}
    others = (f", {value} in {name}" for name, value in own.items())
    return f"{usual} unless given{''.join(others)}."


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

    arch: str = option("mlp", "{names}.", complete=choices.ARCHITECTURES, panel=_NET)
    depth: int = option(
        10,
        _depth_help,
        panel=_NET,
        check=at_least(1),
    )
    width: int = option(64, "Units (channels) per hidden layer.", panel=_NET, check=at_least(1))
    act: str = option(
        "",
        lambda: f"Activation function: {{names}}; {_usual_help('act', 'takes_act')}",
        complete=choices.ACTIVATIONS,
        lists=choices.at("ACTIVATION_NAMES"),
        panel=_NET,
    )
    alpha: float | None = option(
        None, "α of ELU and Leaky ReLU (0.2 unless given).", panel=_NET, check=finite
    )
    init: str = option(
        "default",
        "Initialisation of the weights: {names}.",
        complete=choices.INITIALIZERS,
        panel=_NET,
        lists=choices.at("INITIALIZER_NAMES"),
    )
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
        lambda: f"Normalisation: {{names}}; {_usual_help('norm', 'takes_norm')}",
        complete=choices.at("NORMS"),
        panel=_NET,
    )
    norm_position: str = option(
        "pre",
        "Normalise {described}.",
        complete=choices.at("NORM_POSITIONS"),
        panel=_NET,
    )
    spectral_radius: float | None = option(
        None,
        lambda: f"Scale the recurrent matrix of {_recurrent()} (each gate's) to this.",
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
        "gaussian",
        "{names}, or a folder of IDX files.",
        complete=choices.at("DATA"),
        panel=_RUN,
    )
    batch_size: int = option(64, "Examples in the batch.", panel=_RUN, check=at_least(1))
    loss: str = option(
        "cross-entropy", "cross-entropy, bce or mse.", complete=choices.LOSSES, panel=_RUN
    )
    loss_scale: float = option(1.0, "Multiplies the loss.", panel=_RUN, check=positive)
    lr: float = option(
        0.01,
        "Learning rate: of the update ratio, and of training (0.1 in the tasks of clip).",
        "--lr",
        "--learning-rate",
        panel=_RUN,
        check=positive,
    )
    seed: int = option(0, "First seed.", panel=_RUN, check=at_least(0, LAST_SEED))
    seeds: int = option(1, "Independent networks to measure.", panel=_RUN, check=at_least(1))
    dtype: str = option(
        "float32",
        "{names}; those of 16 bits also say what underflows there.",
        complete=choices.at("DTYPES"),
        panel=_RUN,
    )
    device: str = option(
        "auto",
        "{names}, or cuda:N for one of several GPUs.",
        complete=choices.at("DEVICES"),
        panel=_RUN,
    )

    def __post_init__(self) -> None:
        validate(self)
        usual = ARCHITECTURES.get(self.arch, Architecture)  # an unknown one is refused when built
        for name in ("act", "norm"):
            object.__setattr__(self, name, getattr(self, name) or getattr(usual, name))
        self._refuse_beyond_memory(recurrent=usual.cell is not None)

    def _refuse_beyond_memory(self, recurrent: bool) -> None:
        """Weights and their gradients, activations and δ of every layer, and the layers."""
        layers = 1 if recurrent else self.depth
        weights = self.seeds * layers * self.width**2
        values = self.seeds * self.depth * self.width * self.batch_size
        size = 2 * NUMBER * (weights + values) + layers * LAYER + self.depth * ROW
        asked = " ".join(f"--{n} {getattr(self, n)}" for n in ("depth", "width", "seeds"))
        refuse_beyond_memory(
            f"{asked} --batch-size {self.batch_size}", size, "a smaller one of them"
        )

    @property
    def architecture(self) -> Architecture:
        """The architecture that `arch` names.

        Raises
        ------
        GradflowError
            If there is none of that name.
        """
        return architecture(self.arch)
