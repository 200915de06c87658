"""What the layers of a training model put out: cheap statistics by hooks, no host sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.elementwise import FUNCTIONS, Function, is_activation, is_layer, slope
from gradflow.recorder import first_tensor
from gradflow.stats import accumulator

#: What is kept of a layer's activations and of δ at its output, in this order.
SENSED = ("activation_mean", "activation_rms", "zero_fraction", "delta_rms")
#: Far enough out for every activation to be on its plateau, if it has one.
_FAR = 1e4


@dataclass
class Sensor:
    """One layer: what was seen of it since the last step.

    Attributes
    ----------
    stats
        Per call, (3,): mean, rms and share of zeros of the activation after the layer.
    deltas
        Per call, the rms of ∂C/∂z as it is backpropagated.
    alive
        Per batch of the window, (units,): whether a slope was not 0.
    """

    module: nn.Module
    stats: list[Tensor] = field(default_factory=list)
    deltas: list[Tensor] = field(default_factory=list)
    alive: list[Tensor] = field(default_factory=list)

    def reading(self, like: Tensor) -> Tensor:
        """Return `SENSED` and the dead fraction, and forget the statistics."""
        missing = torch.full((), torch.nan, dtype=like.dtype, device=like.device)
        stats = torch.stack(self.stats).mean(0) if self.stats else missing.expand(3)
        delta = torch.stack(self.deltas).square().mean().sqrt() if self.deltas else missing
        dead = missing
        if self.alive and len({a.shape for a in self.alive}) == 1:
            dead = 1 - torch.stack(self.alive).any(0).to(like.dtype).mean()
        self.stats, self.deltas = [], []
        return torch.cat([stats.to(like), torch.stack([delta.to(like), dead.to(like)])])


class Sensors:
    """Hooks the layers and activations of a model.

    Parameters
    ----------
    wanted
        Returns whether the current forward pass is in the window.
    recorded
        Returns whether its step is recorded, so that its statistics are read too.
    window
        Batches over which a unit has to stay on its plateau to count as dead.
    """

    def __init__(
        self,
        model: nn.Module,
        wanted: Callable[[], bool],
        recorded: Callable[[], bool],
        window: int,
    ) -> None:
        self.model, self.wanted, self.recorded, self.window = model, wanted, recorded, window
        self.layers = {n: Sensor(m) for n, m in model.named_modules() if is_layer(m)}
        self.pending: Sensor | None = None
        self.inside = False
        self._plateaus: dict[Any, tuple[float, ...]] = {}
        self._mode: _Functions | None = _Functions(self)  # given up where no function is seen

    def attach(self) -> list[Any]:
        """Return the handles of the hooks."""
        handles: list[Any] = [
            s.module.register_forward_hook(self._after_layer(s)) for s in self.layers.values()
        ]
        for module in self.model.modules():
            if not is_layer(module) and is_activation(module):
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._after_module))
        handles.append(self.model.register_forward_pre_hook(self._start, prepend=True))
        handles.append(self.model.register_forward_hook(self._end, always_call=True))
        return handles

    def readings(self, like: Tensor) -> Tensor:
        """Return (layers, quantities): `SENSED`, then the dead fraction."""
        rows = [sensor.reading(like) for sensor in self.layers.values()]
        return torch.stack(rows) if rows else like.new_empty((0, len(SENSED) + 1))

    def _start(self, *_: Any) -> None:
        self.pending, self.inside = None, False
        if self._mode is not None and self._reads():
            self._mode.__enter__()

    def _end(self, *_: Any) -> None:
        mode = self._mode
        if mode is not None and mode.entered:
            mode.__exit__(None, None, None)
            self._mode = mode if mode.seen else None

    def _reads(self) -> bool:
        return torch.is_grad_enabled() and self.wanted()

    def _after_layer(self, sensor: Sensor) -> Any:
        def hook(_: nn.Module, __: Any, outputs: Any) -> None:
            output = first_tensor(outputs) if self._reads() else None
            if output is None:
                return
            self.pending = sensor
            if output.requires_grad and self.recorded():
                output.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: sensor.deltas.append(_rms(gradient))
                )

        return hook

    def _enter(self, *_: Any) -> None:
        self.inside = True

    def _after_module(self, module: nn.Module, _: Any, output: Any) -> None:
        self.inside = False
        if self.pending is not None and isinstance(output, Tensor):
            self.activated(module, module.forward, output)

    def activated(self, key: Any, function: Function, output: Tensor) -> None:
        """Note the output of the first activation after a layer."""
        sensor, self.pending = self.pending, None
        if sensor is None or not self._reads():
            return
        values = output.detach()
        if self.recorded():
            sensor.stats.append(_moments(values))
        if key not in self._plateaus:
            self._plateaus[key] = plateaus(function, values)
        if levels := self._plateaus[key]:
            sensor.alive.append(_off_plateau(values, levels, sensor.module))
            del sensor.alive[: -self.window]


def plateaus(function: Function, like: Tensor) -> tuple[float, ...]:
    """Return the values at which an activation is flat far out: 0 for ReLU, ±1 for tanh."""
    if like.device.type == "meta":  # nothing can be read there
        return (0.0,)
    x = torch.tensor([-_FAR, _FAR], dtype=torch.float32, device=like.device).to(like.dtype)
    ends = zip(function(x.clone()).tolist(), slope(function, x).tolist(), strict=True)
    return tuple(value for value, rise in ends if rise == 0)


def _off_plateau(values: Tensor, levels: tuple[float, ...], layer: nn.Module) -> Tensor:
    """(units,): whether any entry of a unit is off the plateaus."""
    if values.dim() == 1:
        values = values.unsqueeze(0)
    if "Conv" in type(layer).__name__ and values.dim() > 2:
        values = values.movedim(1, -1)
    off = values != levels[0]
    for level in levels[1:]:
        off &= values != level
    alive: Tensor = off.flatten(0, -2).any(0)
    return alive


def _moments(values: Tensor) -> Tensor:
    wide, count = accumulator(values.device), max(values.numel(), 1)
    mean = values.sum(dtype=wide) / count
    rms = torch.linalg.vector_norm(values, 2, dtype=wide) / count**0.5
    zeros = 1 - values.count_nonzero().to(wide) / count
    return torch.stack([mean, rms, zeros])


def _rms(gradient: Tensor) -> Tensor:
    wide = accumulator(gradient.device)
    norm: Tensor = torch.linalg.vector_norm(gradient.detach(), 2, dtype=wide)
    rms: Tensor = norm / max(gradient.numel(), 1) ** 0.5
    return rms


class _Functions(torch.overrides.TorchFunctionMode):
    """Sees activation functions that a model calls itself."""

    def __init__(self, sensors: Sensors) -> None:
        super().__init__()
        self.sensors, self.seen, self.entered = sensors, False, False

    def __enter__(self) -> _Functions:
        self.entered = True
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self.entered = False
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, function: Any, _: Any, arguments: Any = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        output = function(*arguments, **keywords)
        if function in FUNCTIONS and not self.sensors.inside and isinstance(output, Tensor):
            self.seen = True
            rest = arguments[1:]
            options = (function, rest, tuple(sorted(keywords.items())))
            self.sensors.activated(options, lambda x: function(x, *rest, **keywords), output)
        return output
