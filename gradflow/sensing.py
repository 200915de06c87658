"""What the layers of a training model put out: cheap statistics by hooks, no host sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gradflow.elementwise import FUNCTIONS, Function, is_activation, is_layer, slope
from gradflow.norms import norm
from gradflow.recorder import first_tensor

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
        (window, units), a ring: how far a unit came off its plateau in each of the last batches;
        0: not at all, or no such batch yet.
    """

    module: nn.Module
    sums: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    nonzeros: list[Tensor] = field(default_factory=list)
    deltas: list[Tensor] = field(default_factory=list)
    entries: int = 0
    delta_entries: int = 0
    extents: Tensor | None = None
    batches: int = 0

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

    def note_extents(self, extents: Tensor, window: int) -> None:
        """Put those of a batch in place of the oldest; other units than before begin anew."""
        ring = self.extents
        if ring is None or ring.shape[1:] != extents.shape or ring.dtype != extents.dtype:
            ring = self.extents = extents.new_zeros((window, *extents.shape))
        ring[self.batches % window] = extents
        self.batches += 1

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
        columns = zip(*(sensor.totals(missing) for sensor in sensors), strict=True)
        mean, square, nonzero, delta = (torch.stack(c).to(like.dtype) for c in columns)
        size, delta_size = self._counts(tuple(s.counts() for s in sensors), like).unbind(1)
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
        groups: dict[Any, dict[int, Tensor]] = {}
        for place, sensor in enumerate(sensors):
            if (ring := sensor.extents) is not None:
                groups.setdefault((ring.shape, ring.dtype), {})[place] = ring
        for rings in groups.values():
            most = torch.stack(list(rings.values())).amax(1)
            dead[list(rings)] = (most == 0).to(like.dtype).mean(1)
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
                _on_gradient(output, lambda gradient: sensor.deltas.append(norm(gradient)))

        return hook

    def _enter(self, *_: Any) -> None:
        self.inside = True

    def _after_module(self, module: nn.Module, _: Any, output: Any) -> None:
        if self.pending is not None and isinstance(output, Tensor):
            self.activated(module, module.forward, output)
        self.inside = False  # only now: finding plateaus calls the module's function as well

    def activated(self, key: Any, function: Function, output: Tensor) -> None:
        """Note the output of the first activation after a layer."""
        sensor, self.pending = self.pending, None
        if sensor is None or not self._reads():
            return
        values = output.detach()
        if key not in self._plateaus:
            self._plateaus[key] = plateaus(function, values)
        flat_at, extents = self._plateaus[key], None
        if flat_at.levels:
            extents = _extents(values, flat_at, sensor.module)
            sensor.note_extents(extents, self.window)
        if self.recorded():
            flat = values.reshape(-1)
            wide = torch.promote_types(values.dtype, torch.float32)
            summed = extents if extents is not None and flat_at.at_zero else flat
            sensor.sums.append(summed.sum(dtype=wide))
            sensor.squares.append(torch.dot(flat, flat) if flat.dtype == wide else _square(flat))
            signs = flat.sign()  # a dot product of signs takes a tenth of a count's time
            sensor.nonzeros.append(torch.dot(signs, signs) if flat.dtype == wide else _count(flat))
            sensor.entries += flat.numel()


def _square(flat: Tensor) -> Tensor:
    square: Tensor = torch.linalg.vector_norm(flat, 2, dtype=torch.float32).square()
    return square


def _count(flat: Tensor) -> Tensor:
    count: Tensor = torch.linalg.vector_norm(flat, 0, dtype=torch.float32)
    return count


class Plateaus(NamedTuple):
    """The values at which an activation is flat far out, and whether it is never below 0."""

    levels: tuple[float, ...]
    positive: bool

    @property
    def at_zero(self) -> bool:
        """Whether what is off the plateau is above 0, so that sums tell it."""
        return self.positive and self.levels == (0.0,)


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
    elif not flat.at_zero:
        values = (values - flat.levels[0]).abs()
    channel = 1 if "Conv" in type(layer).__name__ and values.dim() > 2 else values.dim() - 1
    others = [axis for axis in range(values.dim()) if axis != channel]
    if flat.at_zero:  # its sum is wanted as well
        return values.sum(others, dtype=torch.promote_types(values.dtype, torch.float32))
    return values.amax(others)


def _on_gradient(tensor: Tensor, hook: Callable[[Tensor], None]) -> None:
    """Call `hook` with the gradient of `tensor`, which later work in place does not change.

    A hook of the node costs a tenth of the tensor's own.
    """
    node, place = tensor.grad_fn, tensor.output_nr
    if node is None:
        tensor.register_hook(hook)  # type: ignore[no-untyped-call]
        return

    def before(gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[place]
        if gradient is not None:
            hook(gradient)

    node.register_prehook(before)


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
