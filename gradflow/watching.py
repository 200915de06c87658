"""watch(): a user's own training loop, recorded step by step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradflow.errors import GradflowError
from gradflow.norms import copies, differences, norms
from gradflow.preserving import is_compiled, original
from gradflow.results.watching import WatchResult
from gradflow.sensing import Sensors

#: Recorded steps in which gradients are looked at for a GradScaler that watch was not told of.
_TRIED = 3


@dataclass
class Snapshot:
    """One recorded step, on the model's device: per parameter, and per layer.

    Attributes
    ----------
    before, after
        (parameters,): norms of the gradients as backward left them, unscaled; and as the
        optimizer met them, None where nothing had changed them.
    factor
        (1,): the last gradient's norm at the step over that after backward. A GradScaler's own
        kernel changes gradients without a trace in their version.
    weights, updates
        (parameters,): norms of the parameters, and of what the optimizer did to them.
    sensed
        (layers, quantities): see `gradflow.sensing`.
    """

    step: int
    before: Tensor
    after: Tensor | None = None
    factor: Tensor | None = None
    weights: Tensor | None = None
    updates: Tensor | None = None
    sensed: Tensor | None = None


def watch(
    model: nn.Module,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    scaler: Any = None,
    every: int = 1,
    activations: bool = True,
    updates: bool = True,
    window: int = 8,
) -> Watch:
    """Record a training loop: ``with gradflow.watch(model) as w: …``, then ``w.result()``.

    A step is a step of an optimizer that trains a parameter of the model; a loop that updates by
    hand calls ``w.step()`` between backward and update. Nothing waits for the device before
    ``w.result()``. Clipping, whichever way the loop does it, is what changes the gradients between
    the end of backward and the step.

    Parameters
    ----------
    model
        Any module. Gradients of DDP and FSDP2 models have the norms of one process (with sharded
        parameters every process has to watch); activations are this process's own. Of a compiled
        model, gradients and updates are recorded, not activations.
    optimizer
        The only one whose steps count, where several train the model.
    scaler
        The loop's `torch.amp.GradScaler`; gradients are recorded unscaled.
    every
        Record every so many steps, from the first on.
    activations
        Read activations, dead units and δ as well.
    updates
        Measure ‖Δw‖/‖w‖, which holds a copy of the parameters during a recorded step.
    window
        Batches over which a unit has to give slope 0 for every example to count as dead.

    Raises
    ------
    GradflowError
        If `every` or `window` is not a whole number of at least 1.
    """
    for name, value in (("every", every), ("window", window)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise GradflowError(f"{name} must be a whole number of at least 1, got {value}")
    if not isinstance(model, nn.Module):
        raise GradflowError(f"watch() needs a torch.nn.Module, got a {type(model).__name__}")
    return Watch(model, optimizer, scaler, every, activations, updates, window)


class Watch:
    """The context that `watch` returns."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None, scaler: Any,
        every: int, activations: bool, updates: bool, window: int,
    ) -> None:  # fmt: skip
        self.outer, self.model = model, original(model)
        self.compiled = is_compiled(model)
        self.optimizer, self.scaler = optimizer, scaler
        self.every, self.updates, self.window = every, updates, window
        self.seen, self.skipped = 0, 0
        self.snapshots: list[Snapshot] = []
        read = activations and not self.compiled
        self.sensors: Sensors | None = None
        if read:
            self.sensors = Sensors(self.model, self._in_window, self._is_recording, window)
        self._handles: list[Any] = []
        self._before: Tensor | None = None
        self._marks: list[tuple[int, int] | None] = []
        self._armed = self._open = self._unscaled = self._listening = False
        self._weights: list[Tensor] | None = None

    def __enter__(self) -> Watch:
        if self._handles:
            raise GradflowError("this watch is already running", "make another: gradflow.watch(…)")
        if self.sensors is not None:
            self._handles += self.sensors.attach()
        if self.compiled:
            self._listen_to_parameters()
        else:
            self._handles.append(self.model.register_forward_hook(self._after_forward))
        self._listen_to_steps()
        if self.scaler is not None:
            self._wrap_scaler()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for handle in self._handles:
            handle.remove()
        self._handles, self._weights = [], None
        if self.scaler is not None:
            self.scaler.__dict__.pop("unscale_", None)

    def step(self) -> None:
        """Record a step of a loop without an optimizer; call it between backward and update."""
        self._begin(self.outer)
        self._end(self.outer)

    def result(self) -> WatchResult:
        """Return what was recorded so far; moves it to the host, at once."""
        from gradflow.histories import summarized

        return summarized(self)

    @functools.cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that can be trained, by name."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def _listen_to_steps(self) -> None:
        if self.optimizer is not None:
            self._handles.append(self.optimizer.register_step_pre_hook(self._pre_step))
            self._handles.append(self.optimizer.register_step_post_hook(self._post_step))
            return
        self._handles.append(register_optimizer_step_pre_hook(self._pre_step))
        self._handles.append(register_optimizer_step_post_hook(self._post_step))

    def _listen_to_parameters(self) -> None:
        self._listening = True
        self._handles += [
            p.register_post_accumulate_grad_hook(lambda _: self._arm())  # type: ignore[no-untyped-call]
            for p in self.parameters.values()
        ]

    def _wrap_scaler(self) -> None:
        unscale: Callable[..., Any] = self.scaler.unscale_

        def unscale_(optimizer: torch.optim.Optimizer) -> None:
            unscale(optimizer)
            if self._concerns(optimizer):
                self.skipped += self._unscaled
                self._unscaled = True
                self._capture()

        self.scaler.unscale_ = unscale_

    @property
    def recording(self) -> bool:
        """Whether the next step is to be recorded."""
        return self.seen % self.every == 0

    def _is_recording(self) -> bool:
        return self.recording

    def _in_window(self) -> bool:
        to_come = -self.seen % self.every
        return to_come < self.window

    def _after_forward(self, _: nn.Module, __: Any, outputs: Any) -> None:
        if torch.is_grad_enabled() and self.recording:
            for output in _tensors(outputs):
                if output.requires_grad:
                    output.register_hook(lambda _: self._arm())  # type: ignore[no-untyped-call]

    def _arm(self) -> None:
        """Have the gradients read when this backward pass is over, wrappers' work included."""
        if self._armed or not self.recording:
            return
        self._armed = True
        queue = Variable._execution_engine.queue_callback
        queue(lambda: queue(self._backward_over))  # queued at the end: after DDP's and FSDP's own

    def _backward_over(self) -> None:
        self._armed = False
        if self.scaler is None:
            self._capture()

    def _capture(self) -> None:
        if not self.recording:
            return
        grads = [p.grad for p in self.parameters.values()]
        self._before, self._marks = norms(grads), _marks(grads)

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        if self.optimizer is not None:
            return optimizer is self.optimizer
        own = {id(p) for p in self.parameters.values()}
        return any(id(p) in own for group in optimizer.param_groups for p in group["params"])

    def _pre_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._concerns(optimizer):
            self._begin(optimizer)

    def _post_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._open and self._concerns(optimizer):
            self._end(optimizer)

    def _begin(self, owner: Any) -> None:
        self._open, self._armed, self._unscaled = True, False, False
        if not self.recording:
            return
        grads = [p.grad for p in self.parameters.values()]
        before, after, factor = self._before, None, None
        if before is None:
            before = norms(grads)
            if self.scaler is None and not self._listening and any(g is not None for g in grads):
                self._listen_to_parameters()  # the loop calls parts of the model, not its forward
        elif _marks(grads) != self._marks:
            after = norms(grads)
        elif len(self.snapshots) < _TRIED and self.scaler is None and any(
            g is not None for g in grads
        ):  # fmt: skip
            last = max(i for i, g in enumerate(grads) if g is not None)
            factor = norms(grads[last : last + 1]) / before[last]
        scale = getattr(owner, "grad_scale", None)  # fused optimizers unscale inside of step()
        if isinstance(scale, Tensor):
            before, after = before / scale, None if after is None else after / scale
        self.snapshots.append(Snapshot(self.seen + 1, before, after, factor))
        if self.sensors is not None:
            self.snapshots[-1].sensed = self._readings(before)
        if self.updates and isinstance(owner, torch.optim.Optimizer):
            self._weights = copies(list(self.parameters.values()))

    def _readings(self, like: Tensor) -> Tensor:
        assert self.sensors is not None
        sensed = self.sensors.readings(like)
        if self.scaler is not None and len(sensed):
            sensed[:, 3] /= self.scaler.scale(torch.ones((), device=like.device)).to(like)
        return sensed

    def _end(self, _: Any) -> None:
        if self._weights is not None:
            new = list(self.parameters.values())
            self.snapshots[-1].weights = norms(self._weights)
            self.snapshots[-1].updates = norms(differences(new, self._weights))
            self._weights = None
        self.seen += 1
        self._open, self._before = False, None


def _marks(grads: Iterable[Tensor | None]) -> list[tuple[int, int] | None]:
    """What tells whether a gradient was changed or replaced."""
    return [None if g is None else (id(g), g._version) for g in grads]


def _tensors(outputs: Any) -> Iterable[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        yield from _tensors(tuple(outputs.values()))
    elif isinstance(outputs, tuple | list):
        for output in outputs:
            yield from _tensors(output)
