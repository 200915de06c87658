"""What a program's loss is made of, so that it can be computed again with copies of its modules.

That is: calls of modules, each as a whole, and functions of torch on what they return.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from gradflow.diagnosis.objective import mapped
from gradflow.measurement.hooks import Hooks, leave, tensors_in
from gradflow.measurement.preserving import original, uncompiled
from gradflow.watching import grad_scaler
from gradflow.watching.guard import never_raises
from gradflow.watching.losses import LossHandle

Run: TypeAlias = "Callable[..., Any]"
#: Calls that are held; a program that makes more before its first step is not followed.
_MOST = 20_000


@dataclass(frozen=True)
class Made:
    """Stands for a tensor that an earlier call made."""

    number: int


@dataclass(frozen=True, eq=False)
class Kept:
    """A tensor that no call made: a leaf that takes a gradient, or else a copy of its values.

    Attributes
    ----------
    unknown
        Whether it has a gradient, and nobody saw where it comes from.
    """

    tensor: Tensor
    unknown: bool = False


@dataclass(eq=False)
class Call:
    """A call of a module, or of a function of torch.

    Attributes
    ----------
    results
        The numbers of the tensors that it returned, or changed.
    autocast
        Device type, dtype, and whether autocast was on.
    random
        The CPU's random state before it.
    """

    called: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    autocast: tuple[str, torch.dtype, bool]
    random: Tensor | None = None
    results: tuple[int, ...] = ()

    def parts(self) -> Iterator[Any]:
        """Yield what stands for the tensors that it was given."""
        found: list[Any] = []
        mapped(found.append, (self.arguments, self.keywords))
        yield from (part for part in found if isinstance(part, Made | Kept))


@dataclass(frozen=True)
class Loss:
    """What `backward()` was called on.

    Attributes
    ----------
    number
        Of the tensor; None where no call that was seen made it.
    scale
        By which a GradScaler had multiplied it.
    """

    number: int | None
    value: float
    scale: float = 1.0


@dataclass
class Record:
    """All calls of a program so far that a gradient goes through, and its losses."""

    calls: list[Call] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    def needed(self, losses: Sequence[Loss]) -> list[Call]:
        """Return the calls that made the losses, in their order."""
        wanted = {loss.number for loss in losses}
        found = []
        for call in reversed(self.calls):
            if wanted.intersection(call.results):
                found.append(call)
                wanted |= {part.number for part in call.parts() if isinstance(part, Made)}
        return found[::-1]


class Tape(grad_scaler.ScalesAlone):
    """Records a program while it is attached.

    Attributes
    ----------
    record
        What was seen.
    inside
        Whether a call is under way that is recorded as a whole.
    failures
        What went wrong in listening.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.record = Record()
        self._numbers: Any = WeakIdKeyDictionary()
        self._copies: Any = WeakIdKeyDictionary()
        self._scaled: tuple[Tensor, float] | None = None
        self.inside = False
        self._count = 0
        self._hooks = Hooks()

    def attach(self) -> None:
        """Listen to modules, functions, losses and GradScalers, in this thread."""
        self._hooks.add(_Calls(self))
        self._hooks.add(_Functions(self))
        self._hooks.add(LossHandle(self))
        self._hooks.add(grad_scaler.listen(self))

    def remove(self) -> None:
        """Listen no more."""
        self._hooks.remove()

    # -- calls

    def run(self, run: Run, called: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
        """Make a call, and record it if a gradient goes through it.

        Parameters
        ----------
        run
            What is called now.
        called
            What stands for it when it is made again.
        """
        call = self._begun(called, arguments, keywords)
        if call is None:
            return run(*arguments, **keywords)
        self.inside = True
        try:
            value = run(*arguments, **keywords)
        finally:
            self.inside = False
        self._took(call, value, arguments)
        return value

    @never_raises
    def _begin(self, found: list[Call], called: Any, arguments: Any, keywords: Any) -> None:
        is_module = isinstance(called, nn.Module)
        if not is_module and not any(t.requires_grad for t in tensors_in((arguments, keywords))):
            return
        saved = self._saved(arguments), self._saved(keywords)
        random = torch.get_rng_state() if is_module else None
        found.append(Call(called, *saved, _autocast(arguments, keywords), random))

    def _begun(self, called: Any, arguments: Any, keywords: Any) -> Call | None:
        """Return a call that is going to be made, if it may be of use."""
        found = list[Call]()
        if not self.inside and torch.is_grad_enabled() and len(self.record.calls) < _MOST:
            self._begin(found, called, arguments, keywords)
        return found[0] if found else None

    def _saved(self, value: Any) -> Any:
        return mapped(self._saved_one, value)

    def _saved_one(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            hidden = any(t.requires_grad and not t.is_leaf for t in tensors_in(value))
            return Kept(torch.zeros(()), unknown=True) if hidden else value
        if value.requires_grad and value.is_leaf:
            return Kept(value)
        if value in self._numbers:
            return Made(self._numbers[value])
        version = 0 if value.is_inference() else value._version
        known = self._copies.get(value)
        if known is None or known[0] != version:
            kept = Kept(value.detach().clone(), unknown=value.requires_grad)
            known = self._copies[value] = version, kept
        return known[1]

    @never_raises
    def _took(self, call: Call, value: Any, arguments: tuple[Any, ...]) -> None:
        made = list(results_of(value, arguments))
        if any(t.requires_grad and not t.is_leaf for t in made):  # not of an initialisation
            numbers = []
            for tensor in made:
                self._count += 1
                self._numbers[tensor] = self._count
                numbers.append(self._count)
            call.results = tuple(numbers)
            self.record.calls.append(call)

    # -- losses

    @never_raises
    def after_scale(self, scaler: Any, loss: Any) -> None:
        """Note by what a GradScaler multiplied a loss."""
        scale = grad_scaler.scale_of(scaler)
        if isinstance(loss, Tensor) and scale is not None:
            self._scaled = loss, float(scale)

    @never_raises
    def before_backward(self, loss: Tensor) -> None:
        """Take a loss."""
        scale = self._scaled[1] if self._scaled and self._scaled[0] is loss else 1.0
        value = float(loss.detach().double().sum())
        self.record.losses.append(Loss(self._numbers.get(loss), value, scale))

    def after_backward(self, _: Tensor) -> None:
        """Nothing is read then."""


def results_of(value: Any, arguments: tuple[Any, ...]) -> Iterable[Tensor]:
    """Return the tensors that a call returned; of an assignment to a part, what it changed."""
    return tensors_in(mapped(_opened, arguments[:1] if value is None else value))


def _opened(value: Any) -> Any:
    """Return what a distribution, as of actions, is made of; anything else as it is."""
    if not isinstance(value, torch.distributions.Distribution):
        return value
    return [mapped(_opened, part) for part in vars(value).values()]


def _autocast(arguments: Any, keywords: Any) -> tuple[str, torch.dtype, bool]:
    """Return how autocast stands on the device of a call."""
    first = next((t for t in tensors_in((arguments, keywords))), None)
    kind = "cpu" if first is None or first.device.type == "meta" else first.device.type
    return kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)


#: The start of a backward pass, which is heard otherwise.
_BACKWARD: Any = Tensor.backward


class _Functions(TorchFunctionMode):
    """Tells a tape of every function of torch that is called, until `remove()`."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape
        self.__enter__()  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Make the call."""
        if function is _BACKWARD:
            return function(*args, **(kwargs or {}))
        return self._tape.run(function, function, args, kwargs or {})

    def remove(self) -> None:
        """Tell no more."""
        leave(self)


class _Calls:
    """Tells a tape of every call of a module, until `remove()`."""

    def __init__(self, tape: Tape) -> None:
        self._original: Any = nn.Module.__call__
        call = self._original

        @functools.wraps(call)
        def told(module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            if tape.inside:
                return call(module, *arguments, **keywords)
            with uncompiled(module):
                run = functools.partial(call, module)
                return tape.run(run, original(module), arguments, keywords)

        nn.Module.__call__ = told  # type: ignore[method-assign]

    def remove(self) -> None:
        """Call modules as before."""
        nn.Module.__call__ = self._original  # type: ignore[method-assign]
