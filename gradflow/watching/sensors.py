"""What the layers of a training model put out: cheap statistics by hooks, no host sync."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.arrays import Floats
from gradflow.measurement.hooks import first_tensor
from gradflow.measurement.modules import FUNCTIONS, is_activation, is_layer
from gradflow.measurement.slopes import Function
from gradflow.watching.dead_units import plateaus
from gradflow.watching.reader import How, Reader, Source


class Sensors:
    """Hooks the layers and activations of a model.

    Parameters
    ----------
    window
        Batches over which a unit has to stay on its plateau to count as dead.
    deltas
        Read δ, too.

    Attributes
    ----------
    wanted
        Whether the current forward pass is in the window.
    recorded
        Whether its step is recorded, so that its statistics are read too.
    """

    def __init__(self, model: nn.Module, window: int, deltas: bool = True) -> None:
        self.model, self.deltas = model, deltas
        self.layers = {n: m for n, m in model.named_modules() if is_layer(m)}
        self.reader = Reader(window)
        self.wanted = self.recorded = self.inside = self._began = False
        self.pending: int | None = None
        self._convolutional = ["Conv" in type(m).__name__ for m in self.layers.values()]
        self._outputs: dict[Any, Source] = {}
        self._hows: dict[Any, How] = {}
        self._inner: list[Any] = []
        self._mode: _Functions | None = _Functions(self)  # given up where no function is seen

    def attach(self) -> list[Any]:
        """Return the handles of the hooks."""
        handles: list[Any] = [
            m.register_forward_hook(Hook(m, self._after_layer(i)))
            for i, m in enumerate(self.layers.values())
        ]
        for module in self.model.modules():
            if not is_layer(module) and is_activation(module):
                before = Hook(module, self._enter)
                self._inner.append(module.register_forward_pre_hook(before))
                handles.append(module.register_forward_hook(Hook(module, self._after_module)))
        start, end = Hook(self.model, self._start), Hook(self.model, self._end)
        handles.append(self.model.register_forward_pre_hook(start, prepend=True))
        handles.append(self.model.register_forward_hook(end, always_call=True))
        return [*handles, *self._inner]

    def next_step(self) -> None:
        """Say that a step is over; where the model's own forward is not called, it is a batch."""
        if not self._began:
            self.reader.next_batch()
        self._began = False

    def table(self) -> Floats:
        """Return (steps, layers, quantities) of what was recorded: see `step_table.SAMPLED`."""
        return self.reader.table(len(self.layers))

    def _start(self, *_: Any) -> None:
        self.pending, self.inside = None, False
        if self._reads():
            self._began = True
            self.reader.next_batch()
            if self._mode is not None:
                self._mode.__enter__()

    def _end(self, *_: Any) -> None:
        mode = self._mode
        if mode is not None and mode.entered:
            mode.__exit__(None, None, None)
            if not mode.seen:
                self._give_up()

    def _give_up(self) -> None:
        """The model calls no function itself: what modules call needs no telling apart."""
        self._mode = None
        for handle in self._inner:
            handle.remove()

    def _reads(self) -> bool:
        return self.wanted and torch.is_grad_enabled()

    def _after_layer(self, sensor: int) -> Any:
        take = partial(self.reader.take, Source(sensor))

        def hook(_: nn.Module, __: Any, outputs: Any) -> None:
            output = first_tensor(outputs) if self._reads() else None
            if output is None:
                return
            self.pending = sensor
            if self.recorded and self.deltas and output.requires_grad:
                on_gradient(output, take)

        return hook

    def _enter(self, *_: Any) -> None:
        self.inside = True

    def _after_module(self, module: nn.Module, _: Any, output: Any) -> None:
        if self.pending is not None and isinstance(output, Tensor):
            self.activated(module, module.forward, output)
        self.inside = False  # only now: finding plateaus calls the module's function as well

    def activated(self, key: Any, function: Function, output: Tensor) -> None:
        """Take the output of the first activation after a layer."""
        sensor, self.pending = self.pending, None
        if sensor is None or not self._reads():
            return
        values = output.detach()
        if values.dim() == 1:
            values = values.unsqueeze(0)
        source = self._outputs.get((sensor, key, values.dim()))
        if source is None:
            source = Source(sensor, self._how(sensor, function, values))
            self._outputs[sensor, key, values.dim()] = source
        self.reader.take(source, values, self.recorded)

    def _how(self, sensor: int, function: Function, values: Tensor) -> How:
        """Return how to read an activation; one object for those that are read alike."""
        flat = plateaus(function, values)
        axes = values.dim()  # those of one call; before them comes that of calls
        channel = 2 if self._convolutional[sensor] and axes > 2 else axes
        return self._hows.setdefault((flat, channel), How(flat, channel))


class Hook:
    """A hook of one module alone; what stands for it in a copy or a stored module does nothing."""

    def __init__(self, module: nn.Module, call: Callable[..., None]) -> None:
        self.module, self.call = module, call

    def __call__(self, module: nn.Module, *arguments: Any) -> None:
        """Call it, but for a copy that shares its hooks with the module."""
        if module is self.module:
            self.call(module, *arguments)

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")  # takes anything, needs no gradflow to load


def on_gradient(tensor: Tensor, hook: Callable[[Tensor], None]) -> None:
    """Call `hook` with the gradient of `tensor` as it is now, whatever works in place on it later.

    A hook of the node is cheaper than the tensor's own.
    """
    node, place = tensor.grad_fn, tensor.output_nr
    if node is None:
        tensor.register_hook(hook)  # type: ignore[no-untyped-call]
        return

    def before(gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[place]
        if gradient is not None:
            hook(gradient.detach() if gradient.requires_grad else gradient)

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
