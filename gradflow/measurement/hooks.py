"""The one way in which gradflow looks into a running model: hooks and modes that come off again.

Gradients are taken at the nodes of the graph: full backward hooks of modules fail on in-place
activations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from types import FrameType, TracebackType
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.jit import _recursive as recursive
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from gradflow.measurement import walks
from gradflow.measurement.modules import (
    FUNCTIONS,
    OwnActivation,
    is_activation,
    is_layer,
    is_own_function,
    takes_hooks,
)
from gradflow.measurement.preserving import random_states_kept
from gradflow.measurement.slopes import Function

T = TypeVar("T")
GradientHook: TypeAlias = "Callable[[Tensor], Tensor | None]"


def aside(call: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
    """Call what reads a user's tensors out of sight of the user's own modes.

    It is no call of the model's: neither counted with its operations, nor stored for a checkpoint.
    """
    with torch._C.DisableTorchFunction():
        if not torch._C._len_torch_dispatch_stack():
            return call(*arguments, **keywords)
        with _disable_current_modes():
            return call(*arguments, **keywords)


class Hooks:
    """Hooks that come off together, whatever ends the block.

    They are registered as `nn.Module` does it, whatever a module's own class makes of that.
    """

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

    def enter(self, context: contextlib.AbstractContextManager[Any]) -> None:
        """Enter a context that is left when the hooks come off."""
        stack = contextlib.ExitStack()
        stack.enter_context(context)
        self.add(_Left(stack))

    def before_forward(self, module: nn.Module, call: Callable[..., None]) -> None:
        """Call `call(module, inputs)` before every forward pass of a module, before other hooks."""
        self.add(nn.Module.register_forward_pre_hook(module, _OwnHook(module, call), prepend=True))

    def before_call(self, module: nn.Module, call: Callable[..., None]) -> None:
        """Call `call(module, inputs, keywords)` before every forward pass of a module."""
        hook = _OwnHook(module, call)
        self.add(nn.Module.register_forward_pre_hook(module, hook, prepend=True, with_kwargs=True))

    def after_forward(
        self, module: nn.Module, call: Callable[..., None], *, always: bool = False
    ) -> None:
        """Call `call(module, inputs, output)` after every forward pass of a module.

        Parameters
        ----------
        always
            After one that raised, too.
        """
        self.add(
            nn.Module.register_forward_hook(module, _OwnHook(module, call), always_call=always)
        )

    def after_call(
        self, module: nn.Module, call: Callable[..., None], *, first: bool = False
    ) -> None:
        """Call `call(module, arguments, keywords, output)` after every call of a module.

        Parameters
        ----------
        first
            Before other hooks.
        """
        if takes_hooks(module):
            hook = _OwnHook(module, call)
            self.add(nn.Module.register_forward_hook(module, hook, with_kwargs=True, prepend=first))

    def after_layer_calls(
        self, model: nn.Module, call: Callable[[str, nn.Module, Tensor], None]
    ) -> None:
        """Call `call(name, layer, output)` after every call of a layer of `model`."""
        for name, module in walks.named_parts(model):
            if is_layer(module) and takes_hooks(module):
                self.after_forward(module, _with_output(call, name))


class _Left:
    """The handle of contexts that were entered."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack

    def remove(self) -> None:
        """Leave them."""
        self.stack.close()


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
        """Call it, but not for a copy that shares its hooks with the module.

        Nor while the module is only traced, by `torch.compile`, `torch.export` or `torch.jit`.
        """
        # In this order: the compiler of torch 2.6 cannot look into `_is_tracing`.
        if module is not self.module or torch.compiler.is_compiling() or torch._C._is_tracing():
            return
        aside(self.call, module, *arguments)

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")  # takes anything, needs no gradflow to load


@contextlib.contextmanager
def own_hooks_off(model: nn.Module) -> Iterator[None]:
    """Take gradflow's hooks off a module and its parts for the block's duration."""
    before = []
    for module in walks.parts(model):
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            own = {key: hook for key, hook in hooks.items() if _is_own(hook)}
            if own:
                before.append((hooks, dict(hooks)))
                for key in own:
                    del hooks[key]
    try:
        yield
    finally:
        for hooks, all_of_them in before:
            hooks.clear()
            hooks.update(all_of_them)


class ScriptsWithoutHooks:
    """A handle: until its `remove()`, `torch.jit.script` sees no hook of gradflow's.

    It would compile them with the module, and raise.
    """

    _original: ClassVar[Callable[..., Any] | None] = None
    _users: ClassVar[int] = 0

    def __init__(self) -> None:
        kind = type(self)
        kind._users += 1
        if kind._users == 1 and hasattr(recursive, "get_hook_stubs"):
            kind._original = recursive.get_hook_stubs
            recursive.get_hook_stubs = functools.partial(_of_own_hooks_free, kind._original)

    def remove(self) -> None:
        """Let it see all hooks again, once nobody looks at a module."""
        kind = type(self)
        kind._users -= 1
        if not kind._users and kind._original is not None:
            recursive.get_hook_stubs, kind._original = kind._original, None


def _of_own_hooks_free(stubs_of: Callable[[nn.Module], Any], module: nn.Module) -> Any:
    with own_hooks_off(module):
        return stubs_of(module)


def _is_own(hook: Any) -> bool:
    copied = isinstance(getattr(hook, "__self__", None), nullcontext)
    return isinstance(hook, _OwnHook) or copied


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
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, dict):
        outputs = tuple(vars(outputs).values())
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return next((t for t in map(first_tensor, outputs) if t is not None), None)
    return None


def entries(tensor: Tensor) -> Tensor:
    """Return a tensor cut off from its graph; of a nested one the rows of all its parts."""
    tensor = tensor.detach()
    return tensor.values() if tensor.is_nested else tensor


#: Containers within each other that are searched: one may hold itself.
_NESTED = 8


def tensors_in(value: Any, depth: int = _NESTED) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif depth:
        if isinstance(value, Mapping):
            value = tuple(value.values())
        elif hasattr(value, "__dataclass_fields__"):
            value = tuple(vars(value).values())
        if isinstance(value, tuple | list):
            for part in value:
                yield from tensors_in(part, depth - 1)


class Observer(Protocol):
    """What is told of a model's layers and activations while it runs."""

    def layer_called(self, name: str, layer: nn.Module, output: Tensor) -> Any:
        """Take a layer's output; return what stands for this call, None for nothing."""

    def activation_called(self, call: Any, function: Function, inputs: Tensor) -> None:
        """Take the input of the first activation after that call."""

    def activation_returned(self, call: Any, function: Function | None, output: Tensor) -> None:
        """Take its output; no function where that must not be called."""


class _Call:
    """A layer call, as the observer knows it, and whether an activation has followed it."""

    def __init__(self, observed: Any) -> None:
        self.observed, self.followed = observed, False


class _Now(threading.local):
    """What runs in this thread.

    Attributes
    ----------
    inside
        Whether a module that is an activation is running.
    last
        The latest layer call.
    active
        What the observer calls the layer call whose activation is running.
    by_node
        Layer calls by the node of the graph that made their output.
    """

    inside: bool = False
    last: _Call | None = None
    active: Any = None

    def __init__(self) -> None:
        self.by_node: dict[Any, _Call] = {}


#: Nodes between a layer and its activation, of a normalisation, say: more are not searched.
_BETWEEN = 64


class CallHooks:
    """Tells an observer of every call of a layer, and of the first activation after it.

    An activation is a module, or a function that the model calls itself: those are seen inside
    `functions()` alone. Which layer it follows is read off the graph, so that gates are told apart.

    Parameters
    ----------
    trying
        Whether a module of somebody's own is tried out on a copy to learn whether it is an
        activation. If not, it is judged by what goes in and comes out.
    """

    def __init__(self, model: nn.Module, observer: Observer, *, trying: bool = True) -> None:
        self.model, self.observer, self.trying = model, observer, trying
        self._now = _Now()
        self._own: dict[int, OwnActivation] = {}
        self._named: list[tuple[str, nn.Module]] = []
        self._layers: list[tuple[str, nn.Module]] = []
        self._activations: list[nn.Module] = []

    def layer_names(self) -> list[str]:
        """Return the names of the layers that are hooked."""
        self._look()
        return [name for name, _ in self._layers]

    def attach(self, hooks: Hooks) -> None:
        """Hook the model."""
        self._look()
        for name, module in self._layers:
            hooks.after_forward(module, _with_output(self._after_layer, name))
        for module in self._activations:
            hooks.before_forward(module, self._before_activation)
            hooks.after_forward(module, self._after_activation)

    def _look(self) -> None:
        """Look up layers and activations, if the model has other modules than before."""
        named = [(n, m) for n, m in walks.named_parts(self.model) if takes_hooks(m)]
        if named == self._named:
            return
        self._named = named
        self._layers = [(n, m) for n, m in named if is_layer(m)]
        layers = {id(module) for _, module in self._layers}
        others = [m for _, m in named if id(m) not in layers]
        tries = self.trying and any(map(is_own_function, others))
        with random_states_kept() if tries else nullcontext():  # once for all that are tried
            self._activations = list(self._chosen(others, kept=tries))

    def _chosen(self, modules: Iterable[nn.Module], *, kept: bool) -> Iterator[nn.Module]:
        """Yield those that are activations, or may be."""
        tried: dict[Any, bool] = {}
        for module in modules:
            if not self.trying and is_own_function(module):
                self._own.setdefault(id(module), OwnActivation())
                yield module
            elif is_activation(module, tried, kept=kept):
                yield module

    def functions(self, also: Mapping[Any, AfterCall] | None = None) -> FunctionCalls:
        """Return the context in which activation functions called without a module are seen.

        Parameters
        ----------
        also
            What is to be told of calls of other functions.
        """
        return FunctionCalls(self, also)

    @property
    def inside(self) -> bool:
        """Whether a module that is an activation is running."""
        return self._now.inside

    def restart(self) -> None:
        """Forget a pass."""
        now = self._now
        now.inside, now.last, now.active = False, None, None
        now.by_node.clear()

    def take(self, inputs: Tensor) -> Any:
        """Return the layer call that an activation of `inputs` follows, once."""
        now = self._now
        if now.inside:
            return None
        call = self._source(inputs) if now.by_node else now.last
        if call is None or call.followed:
            return None
        call.followed = True
        return call.observed

    def _source(self, inputs: Tensor) -> _Call | None:
        """Search the graph back from `inputs` for layer calls; the latest of them."""
        by_node, node = self._now.by_node, inputs.grad_fn
        if node is None:
            return self._now.last
        if (call := by_node.get(node)) is not None:
            return call
        found, seen, queue = [], {node}, [node]
        while queue and len(seen) < _BETWEEN:
            for before, _ in queue.pop(0).next_functions:
                if before in by_node:
                    found.append(before)
                elif before is not None and before not in seen:
                    seen.add(before)
                    queue.append(before)
        order = list(by_node)
        return by_node[max(found, key=order.index)] if found else self._now.last

    def _after_layer(self, name: str, layer: nn.Module, output: Tensor) -> None:
        observed = self.observer.layer_called(name, layer, output)
        if observed is None:
            return
        now = self._now
        now.last = _Call(observed)
        if output.grad_fn is not None:
            now.by_node[output.grad_fn] = now.last

    def _before_activation(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        now = self._now
        if inputs and isinstance(inputs[0], Tensor):
            own = self._own.get(id(module))
            if own is not None and not own.before(inputs[0]):
                return
            now.active = self.take(inputs[0])
            now.inside = True
            if now.active is not None and own is None:
                self.observer.activation_called(now.active, module.forward, inputs[0])
        now.inside = True

    def _after_activation(self, module: nn.Module, _: Any, output: Any) -> None:
        now = self._now
        call, now.active = now.active, None
        own = self._own.get(id(module))
        known = own is None or own.after(output)
        if call is not None and known and isinstance(output, Tensor):
            self.observer.activation_returned(call, module.forward if own is None else None, output)
        now.inside = False


#: What is told of a call of a function: the function, its arguments, keywords and output.
AfterCall: TypeAlias = "Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]"


class FunctionCalls(TorchFunctionMode):
    """Sees a model's own calls of activation functions.

    Parameters
    ----------
    also
        What is told of calls of other functions.

    Attributes
    ----------
    seen
        Whether there was a call of an activation function.
    """

    def __init__(self, calls: CallHooks, also: Mapping[Any, AfterCall] | None = None) -> None:
        super().__init__()
        self.calls, self.seen = calls, False
        self.also = also or {}
        self._wanted = FUNCTIONS | frozenset(self.also)

    def __torch_function__(
        self, function: Any, _: Any, arguments: Any = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        if function not in self._wanted:  # nearly all calls
            return function(*arguments, **keywords)
        if (after := self.also.get(function)) is not None:
            output = function(*arguments, **keywords)
            with torch._C.DisableTorchFunction():
                after(function, arguments, keywords, output)
            return output
        return self._activation(function, arguments, keywords)

    def _activation(self, function: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
        call, calls = None, self.calls
        if not calls.inside and arguments and isinstance(arguments[0], Tensor):
            self.seen = True
            call = calls.take(arguments[0])
        if call is None:
            return function(*arguments, **keywords)
        alone = functools.partial(_of_first, function, arguments[1:], keywords)
        with torch._C.DisableTorchFunction():
            calls.observer.activation_called(call, alone, arguments[0])
        output = function(*arguments, **keywords)
        with torch._C.DisableTorchFunction():
            calls.observer.activation_returned(call, alone, output)
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


def is_running(frame: FrameType | None) -> bool:
    """Return whether the call that a frame is of has not returned yet, in this thread."""
    here: FrameType | None = sys._getframe()
    while here is not None and here is not frame:
        here = here.f_back
    return here is not None
