"""The built-in architectures: what each is, and what can be asked of it. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gradflow.errors import named

_NETWORKS = "gradflow.networks.architectures"
_CELLS = "gradflow.networks.recurrent"
_WIDE = "gradflow.diagnosis.wide_networks"


@dataclass(frozen=True)
class Architecture:
    """What gradflow knows of one architecture, before anything is built.

    Attributes
    ----------
    summary
        What it is, in a few words.
    builder
        ``"module:function"`` of (config, inputs, outputs, dtype) -> network, not initialised.
    depth
        What `NetworkConfig.depth` counts.
    features
        (depth, width) -> how many Gaussian numbers make one example.
    act, norm
        Activation and normalisation where none is asked for.
    cell
        ``"module:class"`` of its recurrent cell; its layers are then time steps. None: it has
        none.
    takes_act, takes_norm
        Whether it can have another activation, and a normalisation.
    residual
        Whether ``--residual`` adds shortcuts, it has its own, or it can have none.
    theory
        What the theory of a chain takes for its layers: dense layers, time steps, convolutions
        with positions, or None where it is no chain.
    wide
        ``"module:function"`` that returns the same network as parts of infinite width. None: no
        theory of it is known.
    scale_free
        Whether the pass that cannot overflow can run it.
    bounded
        Whether Pascanu's bound on the rate holds: σ_max of the recurrent matrix times max |φ′|.
    remedies
        Architectures that are a remedy for it.
    """

    summary: str
    builder: str
    depth: str = "hidden layers"
    features: Callable[[int, int], int] = lambda _depth, width: width
    act: str = "relu"
    norm: str = "none"
    cell: str | None = None
    takes_act: bool = True
    takes_norm: bool = True
    residual: Literal["option", "own", "none"] = "option"
    theory: Literal["layers", "steps", "positions"] | None = None
    wide: str | None = None
    scale_free: bool = False
    bounded: bool = False
    remedies: tuple[str, ...] = ()

    @property
    def recurrent(self) -> bool:
        """Whether its layers are time steps."""
        return self.cell is not None


def _recurrent(summary: str, cell: str, **fields: Any) -> Architecture:
    return Architecture(
        summary,
        f"{_NETWORKS}:recurrent",
        depth="time steps",
        features=lambda depth, _width: 8 * depth,
        act="tanh",
        cell=f"{_CELLS}:{cell}",
        takes_norm=False,
        residual="none",
        **fields,
    )


#: name -> architecture. A new one is one entry and its builder; options, their help and completion
#: follow.
ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(
        "dense layers",
        f"{_NETWORKS}:mlp",
        theory="layers",
        wide=f"{_WIDE}:mlp",
        scale_free=True,
    ),
    "cnn": Architecture(
        "3 × 3 convolutions",
        f"{_NETWORKS}:cnn",
        features=lambda _depth, _width: 3 * 16 * 16,
        theory="positions",
    ),
    "resmlp": Architecture(
        "residual blocks of two dense layers",
        f"{_NETWORKS}:resmlp",
        depth="blocks",
        residual="own",
        wide=f"{_WIDE}:resmlp",
    ),
    "rnn": _recurrent(
        "a plain recurrent layer", "Cell", theory="steps", bounded=True, remedies=("lstm", "gru")
    ),
    "lstm": _recurrent("a long short-term memory layer", "LSTMCell", takes_act=False),
    "gru": _recurrent("a layer of gated recurrent units", "GRUCell", takes_act=False),
    "transformer": Architecture(
        "blocks of attention and two dense layers",
        f"{_NETWORKS}:transformer",
        depth="blocks",
        features=lambda _depth, width: 16 * width,
        norm="layer",
        residual="own",
        wide=f"{_WIDE}:transformer",
    ),
}


def architecture(name: str) -> Architecture:
    """Return the named architecture.

    Raises
    ------
    GradflowError
        If there is none of that name.
    """
    return named("architecture", name, ARCHITECTURES)


def names_with(field: str, *values: object) -> list[str]:
    """Return the architectures whose field or property has one of these values."""
    return [name for name, a in ARCHITECTURES.items() if getattr(a, field) in values]
