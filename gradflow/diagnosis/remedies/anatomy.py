"""What remedies need to know of a module: its layers in the order of their calls."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradflow.diagnosis.objective import Objective, called, copied
from gradflow.measurement.hooks import Hooks, first_tensor
from gradflow.measurement.modules import FUNCTIONS, is_activation, is_layer, own_parameter
from gradflow.measurement.preserving import preserved
from gradflow.results.diagnosis import DiagnosisResult

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
Shape = tuple[int, ...]

#: Activation functions by name -> the module that does the same.
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "leaky": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "hardtanh": nn.Hardtanh,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class Event:
    """A call in the forward pass: of a layer, an activation or a normalisation."""

    kind: str
    name: str | None
    module: nn.Module | None
    function: str | None = None


@dataclass(frozen=True)
class Layer:
    """A layer that trains.

    Attributes
    ----------
    name, module
        As the model holds it.
    entering, leaving
        Shapes of what went in and came out; None where that is no tensor.
    follows
        The activation behind it, as a module; None: there is none before the next layer.
    activation
        The name of that module; None where the model calls a function.
    normed
        Whether a normalisation follows it, or stands before it.
    calls
        How often it was called.
    """

    name: str
    module: nn.Module
    entering: Shape | None
    leaving: Shape | None
    follows: nn.Module | None = None
    activation: str | None = None
    normed: bool = False
    calls: int = 1

    @property
    def weight(self) -> Tensor | None:
        """Its weight, unless that is computed."""
        return own_parameter(self.module, "weight")

    @property
    def plain(self) -> bool:
        """Whether it multiplies by one weight of its own: dense or convolutional."""
        known = isinstance(self.module, nn.Linear | nn.modules.conv._ConvNd)
        return known and self.weight is not None

    @property
    def square(self) -> bool:
        """Whether what comes out has the shape of what goes in."""
        return self.entering is not None and self.entering == self.leaving


@dataclass(frozen=True)
class Anatomy:
    """A model, what it is called with, what is wrong with it.

    Attributes
    ----------
    model
        A copy that is only looked at.
    layers
        In the order of their first calls; the last is the output's.
    activations
        Names of the activation modules before the last layer.
    ending
        Activations behind the last layer: the module's name, or None for a function, and the
        module.
    functions
        Activations before the last layer, and nowhere behind it, that are called as functions.
    shapes
        Of every module that was called: what went in, what came out.
    """

    model: nn.Module
    objective: Objective
    result: DiagnosisResult
    layers: list[Layer] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    ending: list[tuple[str | None, nn.Module]] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[Shape | None, Shape | None]] = field(default_factory=dict)

    def model_copy(self) -> nn.Module:
        """Return a copy that may be changed."""
        return copy.deepcopy(self.model)

    @property
    def hidden(self) -> list[Layer]:
        """All layers but the output's."""
        return self.layers[:-1]

    @property
    def codes(self) -> set[str]:
        """The codes of what was found."""
        return {finding.code for finding in self.result.findings}


def anatomy(model: nn.Module, objective: Objective, result: DiagnosisResult) -> Anatomy:
    """Run `model`, a copy, once, and return what was seen; it stays as it was."""
    look = _Look(model)
    with preserved(model), torch.no_grad(), Hooks() as hooks:
        look.attach(hooks)
        called(model, copied(objective.inputs))
    layers, activations, ending = _read(look.events, look.shapes)
    functions = _functions(look.events)
    return Anatomy(model, objective, result, layers, activations, ending, functions, look.shapes)


def _functions(events: list[Event]) -> list[str]:
    """Names of functions called before the last layer only; those that work in place stay."""
    last = max((i for i, event in enumerate(events) if event.kind == "layer"), default=0)
    before, behind = ([e.function for e in some] for some in (events[:last], events[last:]))
    names = dict.fromkeys(name for name in before if name is not None and name not in behind)
    return [name for name in names if not name.endswith("_")]


class _Functions(TorchFunctionMode):
    """Hears activation functions that no module calls."""

    def __init__(self, look: _Look) -> None:
        super().__init__()
        self.look = look

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in FUNCTIONS and not self.look.inside:
            name = func.__name__.rstrip("_")
            made = _MODULES.get(name.partition("_")[0])
            if made is not None:
                event = Event("activation", None, made(), func.__name__)
                self.look.events.append(event)
        return func(*args, **(kwargs or {}))


class _Look:
    """Notes the calls of every module of a copy in their order."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.events: list[Event] = []
        self.shapes: dict[str, tuple[Shape | None, Shape | None]] = {}
        self.inside = 0  # activation modules that are running

    def attach(self, hooks: Hooks) -> None:
        """Hook the model."""
        for name, module in self.model.named_modules():
            kind = _kind(module)
            hooks.before_forward(module, self._before(kind))
            hooks.after_call(module, self._after(name, kind))
        hooks.enter(_Functions(self))

    def _before(self, kind: str | None) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self.inside += kind == "activation"

        return hook

    def _after(self, name: str, kind: str | None) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self.inside -= kind == "activation"
            given = first_tensor(args if args else kwargs)
            made = first_tensor(output)
            self.shapes.setdefault(name, (_shape(given), _shape(made)))
            if kind is not None:
                self.events.append(Event(kind, name, module))

        return hook


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, _NORMS):
        return "norm"
    if is_layer(module):
        return "layer"
    return "activation" if is_activation(module) else None


def _shape(tensor: Tensor | None) -> Shape | None:
    return None if tensor is None else tuple(tensor.shape)


def _read(
    events: list[Event], shapes: dict[str, tuple[Shape | None, Shape | None]]
) -> tuple[list[Layer], list[str], list[tuple[str | None, nn.Module]]]:
    """Layers with what follows each, activation modules, and what follows the last layer."""
    at = [i for i, event in enumerate(events) if event.kind == "layer"]
    layers: dict[str, Layer] = {}
    for number, i in enumerate(at):
        name, module = events[i].name, events[i].module
        assert name is not None
        assert module is not None
        if not any(p.requires_grad for p in module.parameters()):
            continue
        until = at[number + 1] if number + 1 < len(at) else len(events)
        behind = events[i + 1 : until]
        if name in layers:
            known = layers.pop(name)  # its last call says where it stands
            layers[name] = Layer(**{**vars(known), "calls": known.calls + 1})
            continue
        act = next((e for e in behind if e.kind == "activation"), None)
        before = events[i - 1].kind if i else None
        layers[name] = Layer(
            name,
            module,
            *shapes[name],
            follows=None if act is None else act.module,
            activation=None if act is None else act.name,
            normed=before == "norm" or any(e.kind == "norm" for e in behind),
        )
    last = at[-1] if at else len(events)
    hidden = [e.name for e in events[:last] if e.kind == "activation" and e.name is not None]
    ending = [(e.name, e.module) for e in events[last:] if e.kind == "activation"]
    return (
        list(layers.values()),
        list(dict.fromkeys(hidden)),
        [(name, module) for name, module in ending if module is not None],
    )
