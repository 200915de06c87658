"""What the layers of a training model put out: cheap statistics by hooks, no host sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
    """One layer: what was seen of it in the recorded step.

    Attributes
    ----------
    sums, squares, nonzeros, deltas
        Per call, 0-d: Σa, Σa² and the count of a ≠ 0 of the activation after the layer, and the
        norm of ∂C/∂z as it is backpropagated.
    entries, delta_entries
        How many numbers those are of.
    extents
        Per batch of the window, (units,): how far a unit came off its plateau; 0: not at all.
    """

    module: nn.Module
    sums: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    nonzeros: list[Tensor] = field(default_factory=list)
    deltas: list[Tensor] = field(default_factory=list)
    entries: int = 0
    delta_entries: int = 0
    extents: list[Tensor] = field(default_factory=list)

    def totals(self, missing: Tensor) -> list[Tensor]:
        """Return Σa, Σa², the count and ‖∂C/∂z‖ over all calls, and forget them."""
        parts = (self.sums, self.squares, self.nonzeros)
        found = [_total(part, missing) for part in parts]
        if len(self.deltas) > 1:
            found.append(torch.stack(self.deltas).square().sum().sqrt())
        else:
            found.append(_total(self.deltas, missing))
        self.sums, self.squares, self.nonzeros, self.deltas = [], [], [], []
        return found

    def counts(self) -> tuple[int, int]:
        """Return how many numbers the totals are of, and forget them."""
        counts = (max(self.entries, 1), max(self.delta_entries, 1))
        self.entries = self.delta_entries = 0
        return counts


def _total(parts: list[Tensor], missing: Tensor) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.stack(parts).sum() if parts else missing


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
        self._plateaus: dict[Any, Plateaus] = {}
        self._sizes: dict[Any, Tensor] = {}
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
        sensors = list(self.layers.values())
        if not sensors:
            return like.new_empty((0, len(SENSED) + 1))
        missing = torch.full((), torch.nan, device=like.device)
        totals = [t.to(like.dtype) for sensor in sensors for t in sensor.totals(missing)]
        table = torch.stack(totals).view(len(sensors), 4)
        size, delta_size = self._counts(tuple(s.counts() for s in sensors), like).unbind(1)
        mean, square, nonzero, delta = table.unbind(1)
        found = [mean / size, (square / size).sqrt(), 1 - nonzero / size, delta / delta_size.sqrt()]
        return torch.stack([*found, self._dead(sensors, like)], 1)

    def _counts(self, counts: tuple[tuple[int, int], ...], like: Tensor) -> Tensor:
        """(layers, 2): the same from step to step, so made once."""
        if counts not in self._sizes:
            self._sizes[counts] = torch.tensor(counts, dtype=like.dtype, device=like.device)
        return self._sizes[counts]

    def _dead(self, sensors: list[Sensor], like: Tensor) -> Tensor:
        """(layers,): the share of units that no batch of the window took off its plateau."""
        dead = torch.full((len(sensors),), torch.nan, dtype=like.dtype, device=like.device)
        groups: dict[Any, list[int]] = {}
        for place, sensor in enumerate(sensors):
            if shapes := {e.shape for e in sensor.extents}:
                key = (len(sensor.extents), shapes.pop(), sensor.extents[0].dtype)
                groups.setdefault(key, []).extend([place] if not shapes else [])
        for (batches, _, _), places in groups.items():
            extents = torch.stack([e for place in places for e in sensors[place].extents])
            most = extents.view(len(places), batches, -1).amax(1)
            dead[places] = (most == 0).to(like.dtype).mean(1)
        return dead

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
                sensor.delta_entries += output.numel()
                output.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: sensor.deltas.append(_norm(gradient))
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
            flat = values.reshape(-1)
            wide = torch.promote_types(values.dtype, torch.float32)
            sensor.sums.append(flat.sum(dtype=wide))
            sensor.squares.append(torch.dot(flat, flat) if flat.dtype == wide else _square(flat))
            sensor.nonzeros.append(torch.linalg.vector_norm(flat, 0, dtype=wide))
            sensor.entries += flat.numel()
        if key not in self._plateaus:
            self._plateaus[key] = plateaus(function, values)
        if self._plateaus[key].levels:
            sensor.extents.append(_extents(values, self._plateaus[key], sensor.module))
            del sensor.extents[: -self.window]


def _square(flat: Tensor) -> Tensor:
    square: Tensor = torch.linalg.vector_norm(flat, 2, dtype=torch.float32).square()
    return square


class Plateaus(NamedTuple):
    """The values at which an activation is flat far out, and whether it is never below 0."""

    levels: tuple[float, ...]
    positive: bool


def plateaus(function: Function, like: Tensor) -> Plateaus:
    """Return where an activation is flat: at 0 for ReLU, at ±1 for tanh."""
    if like.device.type == "meta":  # nothing can be read there
        return Plateaus((0.0,), True)
    x = torch.tensor([-_FAR, _FAR], dtype=torch.float32, device=like.device).to(like.dtype)
    ends = zip(function(x.clone()).tolist(), slope(function, x).tolist(), strict=True)
    grid = torch.linspace(-8, 8, 1001, device=like.device).to(like.dtype)
    lowest = float(function(grid.clone()).min())
    return Plateaus(tuple(value for value, rise in ends if rise == 0), lowest >= 0)


def _extents(values: Tensor, flat: Plateaus, layer: nn.Module) -> Tensor:
    """(units,): 0 for a unit all of whose entries are on a plateau, else above."""
    if values.dim() == 1:
        values = values.unsqueeze(0)
    if len(flat.levels) > 1:
        low, high = min(flat.levels), max(flat.levels)
        values = (values - low) * (high - values)
    elif not (flat.positive and flat.levels[0] == 0):
        values = (values - flat.levels[0]).abs()
    channel = 1 if "Conv" in type(layer).__name__ and values.dim() > 2 else values.dim() - 1
    return values.amax([axis for axis in range(values.dim()) if axis != channel])


def _norm(gradient: Tensor) -> Tensor:
    wide = accumulator(gradient.device)
    norm: Tensor = torch.linalg.vector_norm(gradient.detach(), 2, dtype=wide)
    return norm


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
