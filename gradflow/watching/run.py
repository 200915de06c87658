"""watch(): a user's own training loop, recorded step by step."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
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
from gradflow.measurement import walks
from gradflow.measurement.hooks import Hooks, ScriptsWithoutHooks, is_running
from gradflow.measurement.modules import normalizes_batch
from gradflow.measurement.norms import divided
from gradflow.measurement.preserving import is_compiled, is_scripted, original
from gradflow.results.watching import WatchFacts, WatchResult
from gradflow.watching import grad_scaler
from gradflow.watching.gradients import Gradients, StepsInBackward
from gradflow.watching.guard import never_raises
from gradflow.watching.layers import Layers, run_meta
from gradflow.watching.loop import Loop
from gradflow.watching.optimizers import is_or_has, unwrapped, with_closure
from gradflow.watching.recording import LoopNotes, Norms, Recording, Snapshot
from gradflow.watching.rows import summarized
from gradflow.watching.sampled import SAMPLED
from gradflow.watching.sampler import Sampler

#: What torch calls the backward pass that runs, where none does.
NO_TASK = -1
#: Recorded steps, counted from 0, at which everything is read before `sample_every` begins: many
#: at the start, where things change fast.
EARLY = frozenset({0, 1, 2, 4, 7, 12})


def watch(
    model: nn.Module,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    scaler: Any = None,
    every: int = 1,
    sample_every: int = 20,
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
        Record every so many steps, from the first on: the gradients' norms, which cost little.
    sample_every
        Read activations, δ and updates at the recorded steps 1, 2, 3, 5, 8 and 13, and at every
        so many from the first on: they cost more, and change slowly. 1 reads them at every step.
    activations
        Read activations and dead units as well. Copies of small ones are held during a step.
    deltas
        Read δ at the layers' outputs too, from which the rate is, where activations are read.
    updates
        Measure ‖Δw‖/‖w‖, which holds a copy of the parameters during a sampled step.
    window
        Sampled batches over which a unit has to give slope 0 for every example to count as dead.

    Raises
    ------
    GradflowError
        If `every`, `sample_every` or `window` is not a whole number of at least 1, or a lazy
        module of the model was never called.
    """
    counts = {"every": every, "sample_every": sample_every, "window": window}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise GradflowError(f"{name} must be a whole number of at least 1, got {value}")
    if not isinstance(model, nn.Module):
        raise GradflowError(f"watch() needs a torch.nn.Module, got a {type(model).__name__}")
    lazy = [name for name, p in walks.named_parameters(model) if nn.parameter.is_lazy(p)]
    if lazy:
        raise GradflowError(
            f"{lazy[0]} of the model has no shape yet", "call the model on a batch before watch()"
        )
    optimizer = unwrapped(optimizer)
    if optimizer is not None and not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        raise GradflowError(
            f"{type(optimizer).__name__} is no torch.optim.Optimizer, and has none inside",
            "leave optimizer= out, or call w.step() between backward and update",
        )
    return Watch(
        model, optimizer, scaler, every, sample_every, activations, deltas, updates, window
    )


def trains_on_meta(model: nn.Module) -> bool:
    """Return whether a parameter that is trained is on the meta device."""
    return any(p.is_meta and p.requires_grad for p in walks.parameters(model))


class Watch:
    """The context that `watch` returns."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scaler: Any,
        every: int,
        sample_every: int,
        activations: bool,
        deltas: bool,
        updates: bool,
        window: int,
    ) -> None:
        self.model, self.compiled = original(model), is_compiled(model)
        self.optimizer, self.scaler = optimizer, scaler
        self.every, self.sample_every = every, sample_every
        self.updates, self.window = updates, window
        self.seen, self.skipped = 0, 0
        self.failures: list[str] = []
        self.snapshots: list[Snapshot] = []
        self.gradients, self.layers = Gradients(self.model), Layers(self.model)
        self.layers.look(self.gradients.named)
        self.loop = Loop(self.model, self.gradients, self.compiled)
        read = activations and not self.compiled
        self.sampler = Sampler(self.model, window, deltas) if read else None
        self._hooks = Hooks()
        self._found_scaler = False
        self._tasks: set[int] = set()
        self._task = NO_TASK
        self._in_backward: StepsInBackward | None = None
        self._lock, self._thread = threading.RLock(), 0
        self._foreign: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._next_step()

    def __enter__(self) -> Watch:
        if self._hooks:
            raise GradflowError("this watch is already running", "make another: gradflow.watch(…)")
        try:
            self._attach()
        except BaseException:
            self._hooks.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.remove()
        self.gradients.drop_weights()

    def _attach(self) -> None:
        if self.sampler is not None:
            self._hooks.add(self.sampler)
            self.sampler.switch(self.sampling)
        # Hooks that stay cost next to nothing, beside one that is set in every step.
        self._hook_parameters(self.gradients.named.values())
        self._hooks.add(register_optimizer_step_pre_hook(self._before_step))
        self._hooks.add(register_optimizer_step_post_hook(self._after_step))
        self._hooks.add(grad_scaler.listen(self))
        self._hooks.add(ScriptsWithoutHooks())
        self.loop.attach(self._hooks, self.optimizer)

    def _hook_parameters(self, parameters: Iterable[nn.Parameter]) -> None:
        for parameter in parameters:
            hook: Any = parameter.register_post_accumulate_grad_hook
            self._hooks.add(hook(self._accumulated))

    def _look_again(self) -> None:
        """See which parameters and layers train now: a loop may change that at any time."""
        self._hook_parameters(self.gradients.refresh())
        self.layers.look(self.gradients.named)

    def step(self) -> None:
        """Record a step of a loop without an optimizer; call it between backward and update."""
        self._open(None)
        self._meet(None)
        self._close()

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Record a step of a loop whose optimizer is none of torch's, and changes weights inside.

        ``with w.updating(): optimizer.apply(gradients)``
        """
        self._open(None, changes=True)
        self._meet(None)
        yield
        self._close()

    def result(self) -> WatchResult:
        """Return what was recorded so far; moves it to the host, at once.

        Raises
        ------
        GradflowError
            If what is trained is on the meta device, where nothing has values.
        """
        if trains_on_meta(self.model):
            raise GradflowError(
                "the model is on the meta device: nothing that was recorded has values",
                "give it weights first: model.to_empty(device='cpu'), then initialise it",
            )
        return summarized(self.recorded())

    def recorded(self) -> Recording:
        """Return what was recorded so far as plain data."""
        none = np.empty((len(self.snapshots), 0, len(SAMPLED)))
        sampler = self.sampler
        places = {} if sampler is None else sampler.places
        return Recording(
            layers=self.layers.watched(places),
            snapshots=tuple(s for s in self.snapshots if s is not self._snapshot),
            sampled=none if sampler is None else sampler.table.table(len(sampler.places)),
            skipped_sampled=none[:0]
            if sampler is None
            else sampler.skipped.table(len(sampler.places)),
            every=self.every,
            seen=self.seen,
            skipped=self.skipped,
            attention={} if sampler is None else sampler.attention(),
            facts=self._facts(),
            loop=self._loop_notes(),
            meta=run_meta(self.gradients.named, self._config()),
        )

    def _facts(self) -> WatchFacts:
        sampler = self.sampler
        return WatchFacts(
            compiled=self.compiled,
            batch_norm=normalizes_batch(self.model),
            scripted=is_scripted(self.model),
            evaluating=sampler is not None and sampler.in_evaluation_mode(),
            found_scaler=self._found_scaler and bool(self.snapshots),
            transformed=sampler is not None and sampler.transformed,
            unread=(
                *self.failures,
                *self.loop.failures,
                *(() if sampler is None else sampler.failures),
            ),
        )

    def _loop_notes(self) -> LoopNotes:
        """Return what was noted of the loop as a whole; `recorded` is no place to fail."""
        found = self.loop.summary()
        return LoopNotes() if found is None else found

    def _config(self) -> dict[str, int]:
        return {"every": self.every, "sample_every": self.sample_every, "window": self.window}

    def _next_step(self) -> None:
        """Plan the next step: whether it is recorded, and sampled."""
        number = len(self.snapshots)
        self.recording = self.seen % self.every == 0
        self.sampling = self.recording and (number in EARLY or number % self.sample_every == 0)
        self._snapshot: Snapshot | None = None
        self._before: Norms | None = None
        self._marks: Any = None
        self._scale: Tensor | None = None
        self._changed = False
        self._frame: FrameType | None = None
        self._optimizer: Any = None
        self._evaluated, self._unread = False, False
        self.loop.plan(number, self.recording, self.sampling)
        if self.sampler is not None and self._hooks:
            self.sampler.switch(self.sampling)

    # -- the backward pass

    def _accumulated(self, _: Tensor) -> None:
        """Take a gradient; of a backward pass only the first has anything done."""
        if (task := torch._C._current_graph_task_id()) != self._task:
            self._pass_begins(task)

    @never_raises
    def _pass_begins(self, task: int) -> None:
        """Have the gradients read when this backward pass is over, wrappers' work included."""
        self._task = task
        self._tasks.add(task)
        self.loop.reached()
        queue = Variable._execution_engine.queue_callback
        queue(lambda: queue(self._backward_over))  # queued at the end: after DDP's and FSDP's own

    @never_raises
    def _backward_over(self) -> None:
        self._task = NO_TASK
        if self._in_backward is not None:
            self._close_in_backward()
        elif self.recording and self._is_read():
            self._look_again()
            self._before, self._marks = self.gradients.read_and_marked()
            if self._snapshot is not None:  # the step met the last one's when it began
                self._forget_met()
                self._meet(self._optimizer)

    def _is_read(self) -> bool:
        """Return whether the gradients of this pass are those that a step begins with.

        A step that evaluates its gradient several times begins with the first.
        """
        if not self._stepping():
            return True
        first, self._evaluated = not self._evaluated, True
        self._unread |= not first
        return first

    def _forget_met(self) -> None:
        if self._snapshot is not None:
            self.snapshots.pop()
            self._snapshot = None

    def _stepping(self) -> bool:
        """Return whether the step that began has not returned yet; another thread cannot know."""
        if self._frame is None:
            return False
        return self._thread != threading.get_ident() or is_running(self._frame)

    # -- the step

    def _concerns(self, optimizer: Any) -> bool:
        if self.optimizer is not None:
            return is_or_has(self.optimizer, unwrapped(optimizer))
        return self.gradients.concern(optimizer) or bool(self._trains_since(optimizer))

    @never_raises
    def _trains_since(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether an optimizer trains what was put into the model since, as a new head."""
        if optimizer in self._foreign:
            return False
        self._look_again()
        if not (own := self.gradients.concern(optimizer)):
            self._foreign.add(optimizer)
        return own

    def _before_step(
        self, optimizer: torch.optim.Optimizer, arguments: Any, keywords: Any
    ) -> tuple[Any, Any] | None:
        return self.step_begins(optimizer, arguments, keywords, sys._getframe(1))

    def step_begins(
        self, optimizer: torch.optim.Optimizer, arguments: Any, keywords: Any, frame: FrameType
    ) -> tuple[Any, Any] | None:
        """Take a step that begins in `frame`, as torch's own hook does; return its arguments."""
        with self._lock:
            if not self._concerns(optimizer):
                return None
            if torch._C._current_graph_task_id() != NO_TASK:
                self._step_in_backward(optimizer)
                return None
            if self._frame is not None and is_running(self._frame):
                self._steps_within(optimizer)
                return None
            self._frame, self._thread, self._optimizer = frame, threading.get_ident(), optimizer
            self._evaluated, self._unread = False, False
            self._open(optimizer)
            evaluated = functools.partial(self._meet, optimizer)
            found = with_closure(arguments, keywords, evaluated)
            if found is None:
                self._meet(optimizer)
            return found

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._in_backward is not None:
            self._in_backward.after(optimizer)
        elif self._frame is sys._getframe(1):
            with self._lock:
                self._meet(optimizer)  # if its closure was never called
                self._close()

    @never_raises
    def _steps_within(self, optimizer: torch.optim.Optimizer) -> None:
        """Take an optimizer within another as a part of its step: it meets the last gradient."""
        if self._unread and self._snapshot is not None:
            self._forget_met()
            self._before, self._unread = None, False
            self._meet(optimizer)

    @never_raises
    def _open(self, owner: torch.optim.Optimizer | None, *, changes: bool = False) -> None:
        """Begin a step: of an optimizer, or of none that is over before the weights change."""
        self._forget_met()  # by a step that raised
        self.loop.opened(owner)
        if self.sampling and self.updates and (changes or owner is not None):
            if self._before is None:
                self._look_again()
            self.gradients.keep_weights()

    @never_raises
    def _meet(self, owner: torch.optim.Optimizer | None) -> None:
        """Read the gradients as the optimizer meets them."""
        if not self.recording or self._snapshot is not None:
            return
        before, after, gradients = self._before, None, self.gradients
        if before is None:
            self._look_again()
            before = gradients.read()
        elif self._changed or gradients.marks() != self._marks:
            after = gradients.read()
        if self._scale is not None:  # unscaled since
            before = Norms(before.names, divided(before.numbers, self._scale))
        scale = getattr(owner, "grad_scale", None)  # fused optimizers unscale inside of step()
        if isinstance(scale, Tensor):
            self._scale = scale.detach().clone()
            before = Norms(before.names, divided(before.numbers, scale))
            after = None if after is None else Norms(after.names, divided(after.numbers, scale))
        self._snapshot = Snapshot(self.seen + 1, before, after, notes=self.loop.notes(owner))
        self._snapshot.weights = self.gradients.norms_if_lost(before)
        self.snapshots.append(self._snapshot)

    def _close(self) -> None:
        self._read_updates()
        if self.sampler is not None and self._snapshot is not None:
            # Gradients that a loop asks for and sets by itself reach no parameter on their way.
            self.sampler.close_step(self._tasks or self.sampler.tasks(), self._scale)
        self.gradients.drop_weights()
        self._tasks = set()
        self.seen += 1
        self._next_step()

    @never_raises
    def _read_updates(self) -> None:
        if self._snapshot is not None and (found := self.gradients.updates()) is not None:
            self._snapshot.weights, self._snapshot.updates = found
        if self._snapshot is not None and self.sampler is not None:
            self._snapshot.spreads = self.sampler.spreads(self._tasks)

    # -- steps inside a backward pass

    @never_raises
    def _step_in_backward(self, optimizer: torch.optim.Optimizer) -> None:
        if self._in_backward is None:
            self._in_backward = StepsInBackward(self.gradients, self.updates and self.sampling)
        self._in_backward.before(optimizer)
        self._accumulated(torch.empty(0))

    def _close_in_backward(self) -> None:
        """Take all steps of one backward pass as one."""
        steps, self._in_backward = self._in_backward, None
        if steps is None:
            return
        if self.recording:
            self._snapshot = steps.snapshot(self.seen + 1)
            self._snapshot.notes = self.loop.notes(None)
            self.snapshots.append(self._snapshot)
        self._close()

    # -- a GradScaler

    def after_scale(self, scaler: Any, loss: Any) -> None:
        """Note which loss was multiplied."""
        self.loop.scaled(scaler, loss)

    @never_raises
    def before_unscale(self, scaler: Any, optimizer: Any) -> None:
        """See whether the gradients were clipped before they are unscaled."""
        if self._concerns(optimizer) and self.recording:
            self._adopt(scaler)
            self._changed = self._before is not None and self.gradients.marks() != self._marks

    @never_raises
    def after_unscale(self, scaler: Any, optimizer: Any) -> None:
        """Take the scale that was divided out, and the gradients as they are now."""
        if self._concerns(optimizer) and self.recording:
            self._scale = grad_scaler.scale_of(scaler)
            self._marks = self.gradients.marks()

    @never_raises
    def before_step(self, scaler: Any, optimizer: Any) -> None:
        """Remember how many steps there were."""
        if self._concerns(optimizer):
            self._adopt(scaler)
            self._seen_before = self.seen

    @never_raises
    def after_step(self, scaler: Any, optimizer: Any) -> None:
        """Count a step that was skipped."""
        if not self._concerns(optimizer) or self.seen != self._seen_before:
            return
        self.skipped += 1
        if self.sampler is not None:
            self.sampler.skip_step(self._tasks, grad_scaler.scale_of(scaler))
        self._tasks = set()
        self._next_step()

    def _adopt(self, scaler: Any) -> None:
        if self.scaler is None:
            self.scaler, self._found_scaler = scaler, True
