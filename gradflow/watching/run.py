"""watch(): a user's own training loop, recorded step by step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradflow.errors import GradflowError
from gradflow.measurement.modules import normalizes_batch, own_matrices
from gradflow.measurement.norms import Numbers, copies, differences, divided, is_quick, read_norms
from gradflow.measurement.preserving import is_compiled, original, plain_name
from gradflow.results.base import RunMeta
from gradflow.results.watching import WatchResult
from gradflow.watching.recording import Recording, Snapshot, WatchedLayer
from gradflow.watching.rows import summarized
from gradflow.watching.sensors import Sensors
from gradflow.watching.step_table import SAMPLED

#: Recorded steps in which gradients are looked at for a GradScaler that watch was not told of.
_TRIED = 3


def watch(
    model: nn.Module,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    scaler: Any = None,
    every: int = 1,
    activations: bool = True,
    deltas: bool = True,
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
        Read activations and dead units as well. Of small ones up to 16 MB are kept for some steps,
        to be read together.
    deltas
        Read δ at the layers' outputs too, from which the rate is, where activations are read.
    updates
        Measure ‖Δw‖/‖w‖, which holds a copy of the parameters during a recorded step.
    window
        Batches over which a unit has to give slope 0 for every example to count as dead.

    Raises
    ------
    GradflowError
        If `every` or `window` is not a whole number of at least 1, or a lazy module of the model
        was never called.
    """
    for name, value in (("every", every), ("window", window)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise GradflowError(f"{name} must be a whole number of at least 1, got {value}")
    if not isinstance(model, nn.Module):
        raise GradflowError(f"watch() needs a torch.nn.Module, got a {type(model).__name__}")
    lazy = [name for name, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise GradflowError(
            f"{lazy[0]} of the model has no shape yet", "call the model on a batch before watch()"
        )
    return Watch(model, optimizer, scaler, every, activations, deltas, updates, window)


class Watch:
    """The context that `watch` returns."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scaler: Any,
        every: int,
        activations: bool,
        deltas: bool,
        updates: bool,
        window: int,
    ) -> None:
        self.model, self.compiled = original(model), is_compiled(model)
        self.optimizer, self.scaler = optimizer, scaler
        self.every, self.updates, self.window = every, updates, window
        self.seen, self.skipped = 0, 0
        self.snapshots: list[Snapshot] = []
        read = activations and not self.compiled
        self.sensors = Sensors(self.model, window, deltas) if read else None
        self._handles: list[Any] = []
        self._before: Numbers | None = None
        self._marks: tuple[list[int], list[int]] = ([], [])
        self._armed = self._open = self._unscaled = False
        self._weights: list[Tensor] | None = None
        self._quick = bool(self.parameters) and is_quick(self.parameters.values())
        self._plan()

    def __enter__(self) -> Watch:
        if self._handles:
            raise GradflowError("this watch is already running", "make another: gradflow.watch(…)")
        if self.sensors is not None:
            self._handles += self.sensors.attach()
        # Hooks that stay cost next to nothing, beside one that is set in every step.
        self._handles += [
            p.register_post_accumulate_grad_hook(self._arm)  # type: ignore[no-untyped-call]
            for p in self.parameters.values()
        ]
        self._listen_to_steps()
        if self.scaler is not None:
            self._wrap_scaler()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._weights = [], None
        if self.scaler is not None:
            self.scaler.__dict__.pop("unscale_", None)

    def step(self) -> None:
        """Record a step of a loop without an optimizer; call it between backward and update."""
        self._begin(None)
        self._end()

    def result(self) -> WatchResult:
        """Return what was recorded so far; moves it to the host, at once."""
        return summarized(self.recorded())

    def recorded(self) -> Recording:
        """Return what was recorded so far as plain data."""
        none = np.empty((len(self.snapshots), 0, len(SAMPLED)))
        return Recording(
            layers=tuple(self._layers()),
            parameters=len(self.parameters),
            snapshots=tuple(self.snapshots),
            sampled=none if self.sensors is None else self.sensors.table(),
            every=self.every,
            seen=self.seen,
            skipped=self.skipped,
            compiled=self.compiled,
            batch_norm=normalizes_batch(self.model),
            meta=self._meta(),
        )

    def _layers(self) -> Iterator[WatchedLayer]:
        """Every module that owns a trained matrix, embeddings included, in the model's order."""
        place = {id(p): i for i, p in enumerate(self.parameters.values())}
        sensors = [] if self.sensors is None else list(self.sensors.layers)
        for name, module in self.model.named_modules():
            matrices = own_matrices(module)
            if any(p.requires_grad for p in matrices):
                yield WatchedLayer(
                    plain_name(name),
                    type(module).__name__.removeprefix("FSDP"),
                    tuple(place[id(p)] for p in matrices if id(p) in place),
                    sensors.index(name) if name in sensors else None,
                )

    def _meta(self) -> RunMeta:
        first = next(iter(self.parameters.values()), None)
        return RunMeta(
            torch=torch.__version__,
            device=None if first is None else str(first.device),
            dtype=None if first is None else str(first.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            config={"every": self.every, "window": self.window},
        )

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

    def _wrap_scaler(self) -> None:
        unscale: Callable[..., Any] = self.scaler.unscale_

        def unscale_(optimizer: torch.optim.Optimizer) -> None:
            unscale(optimizer)
            if self._concerns(optimizer):
                self.skipped += self._unscaled
                self._unscaled = True
                self._capture()

        self.scaler.unscale_ = unscale_

    def _plan(self) -> None:
        """Note whether the next step is recorded, and its batches in the window."""
        to_come = -self.seen % self.every
        self.recording = to_come == 0
        if self.sensors is not None:
            self.sensors.wanted, self.sensors.recorded = to_come < self.window, self.recording

    def _arm(self, _: Tensor) -> None:
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
        self._before, self._marks = read_norms(grads, self._quick), _marks(grads)

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
            self._end()

    def _begin(self, owner: torch.optim.Optimizer | None) -> None:
        self._open, self._armed, self._unscaled = True, False, False
        if not self.recording:
            return
        grads = [p.grad for p in self.parameters.values()]
        before, after, factor = self._before, None, None
        if before is None:
            before = read_norms(grads, self._quick)
        elif _marks(grads) != self._marks:
            after = read_norms(grads, self._quick)
        elif (
            len(self.snapshots) < _TRIED
            and self.scaler is None
            and any(g is not None for g in grads)
        ):
            last = max(i for i, g in enumerate(grads) if g is not None)
            factor = divided(read_norms(grads[last : last + 1]), before[last])
        scale = getattr(owner, "grad_scale", None)  # fused optimizers unscale inside of step()
        if isinstance(scale, Tensor):
            before = divided(before, scale)
            after = None if after is None else divided(after, scale)
        self.snapshots.append(Snapshot(self.seen + 1, before, after, factor))
        if self.sensors is not None:
            self.sensors.reader.close(self._scale())
        if self.updates and owner is not None:
            self._weights = copies(list(self.parameters.values()))

    def _scale(self) -> Tensor | None:
        if self.scaler is None:
            return None
        device = next(iter(self.parameters.values())).device
        scale: Tensor = self.scaler.scale(torch.ones((), device=device))
        return scale

    def _end(self) -> None:
        if self._weights is not None:
            new = list(self.parameters.values())
            self.snapshots[-1].weights = read_norms(self._weights)
            self.snapshots[-1].updates = read_norms(differences(new, self._weights))
            self._weights = None
        if self.sensors is not None:
            self.sensors.next_step()
        self.seen += 1
        self._open, self._before = False, None
        self._plan()


def _marks(grads: Sequence[Tensor | None]) -> tuple[list[int], list[int]]:
    """What tells whether a gradient was changed or replaced."""
    return [id(g) for g in grads], [-1 if g is None else g._version for g in grads]
