"""The one way in which gradflow looks into a running model: hooks and modes that come off again.

Gradients are taken at the nodes of the graph: full backward hooks of modules fail on in-place
activations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradflow.measurement.modules import FUNCTIONS, is_activation, is_layer
from gradflow.measurement.slopes import Function

GradientHook: TypeAlias = "Callable[[Tensor], Tensor | None]"


class Hooks:
    """Hooks that come off together, whatever ends the block."""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def __enter__(self) -> Hooks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.remove()

    def __bool__(self) -> bool:
        return bool(self._handles)

    def add(self, handle: Any) -> None:
        """Take the handle of a hook, anything that has a `remove()`."""
        self._handles.append(handle)

    def remove(self) -> None:
        """Take all of them off."""
        while self._handles:
            self._handles.pop().remove()

    def before_forward(self, module: nn.Module, call: Callable[..., None]) -> None:
        """Call `call(module, inputs)` before every forward pass of a module, before other hooks."""
        self.add(module.register_forward_pre_hook(_OwnHook(module, call), prepend=True))

    def after_forward(
        self, module: nn.Module, call: Callable[..., None], *, always: bool = False
    ) -> None:
        """Call `call(module, inputs, output)` after every forward pass of a module.

        Parameters
        ----------
        always
            After one that raised, too.
        """
        self.add(module.register_forward_hook(_OwnHook(module, call), always_call=always))

    def after_layer_calls(
        self, model: nn.Module, call: Callable[[str, nn.Module, Tensor], None]
    ) -> None:
        """Call `call(name, layer, output)` after every call of a layer of `model`."""
        for name, module in model.named_modules():
            if is_layer(module):
                self.after_forward(module, _with_output(call, name))


def _with_output(call: Callable[[str, nn.Module, Tensor], None], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, _: Any, outputs: Any) -> None:
        output = first_tensor(outputs)
        if output is not None:
            call(name, module, output)

    return hook


class _OwnHook:
    """A hook of one module alone; what stands for it in a copy or a stored module does nothing."""

    def __init__(self, module: nn.Module, call: Callable[..., None]) -> None:
        self.module, self.call = module, call

    def __call__(self, module: nn.Module, *arguments: Any) -> None:
        """Call it, but not for a copy that shares its hooks with the module."""
        if module is self.module:
            self.call(module, *arguments)

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")  # takes anything, needs no gradflow to load


def on_gradient(tensor: Tensor, hook: GradientHook) -> None:
    """Call `hook` with the gradient of `tensor` as it is now; what it returns takes its place.

    Whatever works in place on the tensor later changes nothing. A hook of the node is cheaper than
    the tensor's own.
    """
    node, place = tensor.grad_fn, tensor.output_nr
    if node is None:
        if tensor.requires_grad:
            tensor.register_hook(hook)  # type: ignore[no-untyped-call]
        return

    def before(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        gradient = gradients[place]
        changed = None if gradient is None else hook(gradient)
        if changed is None:
            return None
        return (*gradients[:place], changed, *gradients[place + 1 :])

    node.register_prehook(before)


def first_tensor(outputs: Any) -> Tensor | None:
    """Return the first tensor of real numbers in `outputs`: what a layer passes on."""
    if isinstance(outputs, Tensor):
        return outputs if outputs.is_floating_point() else None
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return next((t for t in map(first_tensor, outputs) if t is not None), None)
    return None


class Observer(Protocol):
    """What is told of a model's layers and activations while it runs."""

    def layer_called(self, name: str, layer: nn.Module, output: Tensor) -> Any:
        """Take a layer's output; return what stands for this call, None for nothing."""

    def activation_called(self, call: Any, function: Function, inputs: Tensor) -> None:
        """Take the input of the first activation after that call."""

    def activation_returned(self, call: Any, function: Function, output: Tensor) -> None:
        """Take its output."""


class CallHooks:
    """Tells an observer of every call of a layer, and of the first activation after it.

    An activation is a module, or a function that the model calls itself: those are seen inside
    `functions()` alone.
    """

    def __init__(self, model: nn.Module, observer: Observer) -> None:
        self.model, self.observer = model, observer
        self.inside = False  # a module that is an activation
        self._last: Any = None  # the layer call that no activation has followed yet
        self._active: Any = None  # the layer call whose activation is running

    def attach(self, hooks: Hooks) -> None:
        """Hook the model."""
        hooks.after_layer_calls(self.model, self._after_layer)
        for module in self.model.modules():
            if not is_layer(module) and is_activation(module):
                hooks.before_forward(module, self._before_activation)
                hooks.after_forward(module, self._after_activation)

    def functions(self) -> TorchFunctionMode:
        """Return the context in which activation functions called without a module are seen."""
        return _FunctionCalls(self)

    def restart(self) -> None:
        """Forget a pass that was broken off."""
        self.inside, self._last, self._active = False, None, None

    def take(self) -> Any:
        """Return the layer call that an activation follows now, once."""
        call, self._last = self._last, None
        return call

    def _after_layer(self, name: str, layer: nn.Module, output: Tensor) -> None:
        call = self.observer.layer_called(name, layer, output)
        if call is not None:
            self._last = call

    def _before_activation(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.inside = True
        if inputs and isinstance(inputs[0], Tensor):
            self._active = self.take()
            if self._active is not None:
                self.observer.activation_called(self._active, module.forward, inputs[0])

    def _after_activation(self, module: nn.Module, _: Any, output: Any) -> None:
        call, self._active = self._active, None
        if call is not None and isinstance(output, Tensor):
            self.observer.activation_returned(call, module.forward, output)
        self.inside = False


class _FunctionCalls(TorchFunctionMode):
    """Sees a model's own calls of activation functions."""

    def __init__(self, calls: CallHooks) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(
        self, function: Any, _: Any, arguments: Any = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        seen = function in FUNCTIONS and not self.calls.inside
        call = None
        if seen and arguments and isinstance(arguments[0], Tensor):
            call = self.calls.take()
        if call is None:
            return function(*arguments, **keywords)
        alone = functools.partial(_of_first, function, arguments[1:], keywords)
        self.calls.observer.activation_called(call, alone, arguments[0])
        output = function(*arguments, **keywords)
        self.calls.observer.activation_returned(call, alone, output)
        return output


def _of_first(
    function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], x: Tensor
) -> Tensor:
    """Call `function` with other arguments than its first as they were."""
    output: Tensor = function(x, *arguments, **keywords)
    return output


def leave(mode: TorchFunctionMode) -> None:
    """Take a function mode off this thread's stack, wherever it is, if it is there."""
    above = []
    while torch._C._len_torch_function_stack():
        top = torch.overrides._pop_mode()  # type: ignore[no-untyped-call]
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        torch.overrides._push_mode(other)  # type: ignore[no-untyped-call]
