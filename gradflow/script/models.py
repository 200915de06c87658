"""Every model of a running program that an optimizer trains, each with a watch of its own."""

from __future__ import annotations

import functools
import math
import os
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gradflow.configs.watching import WatchConfig
from gradflow.diagnosis.run import USUAL_RATE
from gradflow.findings.check import verdict_of
from gradflow.measurement import walks
from gradflow.measurement.batch import criteria_heard
from gradflow.measurement.hooks import Hooks, ScriptsWithoutHooks
from gradflow.measurement.norms import as_tensor
from gradflow.measurement.preserving import is_scripted
from gradflow.results.watching import WatchResult
from gradflow.script.discovery import (
    LooseParameters,
    ModuleTree,
    is_callable,
    is_wrapper,
    own_parameters,
)
from gradflow.script.names import name_of, tensor_names
from gradflow.script.start import Start, added
from gradflow.training.optimizers import largest_rate
from gradflow.watching.calls import HeardCriteria
from gradflow.watching.guard import never_raises
from gradflow.watching.outcome import outcome
from gradflow.watching.recording import Snapshot
from gradflow.watching.run import Watch, trains_on_meta, watch

#: Models that are watched at once.
_MOST = 16


class Progress(NamedTuple):
    """How far a model is."""

    name: str
    step: int
    loss: float | None
    norm: float | None
    verdict: str


@dataclass(eq=False)
class Model:
    """A model of the program.

    Attributes
    ----------
    optimizers
        Names of the classes of those that train it.
    watch
        From its first forward pass on.
    """

    module: nn.Module | None
    name: str
    optimizers: dict[str, None] = field(default_factory=dict)
    watch: Watch | None = None
    waiting: Hooks = field(default_factory=Hooks)
    start: Start | None = None
    lr: float | None = None

    entries: int = 0
    verdict: str = "healthy"
    _result: WatchResult | None = None
    _judge_next: float = 0.0

    def progress(self) -> Progress:
        """Return how far it is: reads one step's norms, and judges anew only now and then."""
        watch = self.watch
        if watch is None or not watch.snapshots:
            return Progress(self.name, 0, None, None, self.verdict)
        now = time.monotonic()
        if now >= self._judge_next:  # it takes longer with every step
            self.verdict = watch.result().verdict
            self._judge_next = now + max(2.0, 50 * (time.monotonic() - now))
        last = watch.snapshots[-1]
        norms = as_tensor(last.before.numbers)
        norm = float(norms[norms != -torch.inf].square().sum().sqrt())
        return Progress(self.name, watch.seen, _loss_of(last), norm, self.verdict)

    @property
    def ran(self) -> bool:
        """Whether it was called, or stepped."""
        return self.watch is not None or self._result is not None

    @property
    def stepped(self) -> bool:
        """Whether an optimizer stepped it, or a GradScaler left its steps out."""
        seen = self.watch if self._result is None else self._result
        return seen is not None and bool(seen.seen or seen.skipped)

    def result(self) -> WatchResult:
        """Return what was seen of it: of its run, and of its start."""
        if self._result is not None:
            return self._result
        assert self.watch is not None
        run = self.watch.result()
        start = None if self.start is None else self.start.result(run, self.lr or USUAL_RATE)
        if start is None or outcome(run) == "learnt":  # predictions that did not come true
            return run
        findings = (*run.findings, *added(run, start))
        return replace(run, findings=findings, verdict=verdict_of(findings))

    @property
    def on_meta(self) -> bool:
        """Whether what it trains is on the meta device, and has no values."""
        return self.module is not None and trains_on_meta(self.module)

    def conclude(self) -> None:
        """Take the result, and let go of the model."""
        self._result = self.result()
        self.remove()
        self.module = self.watch = self.start = None

    def remove(self) -> None:
        """Take the hooks off."""
        self.waiting.remove()
        if self.start is not None:
            self.start.remove()
        if self.watch is not None:
            self.watch.__exit__(None, None, None)

    def holds(self, parameters: set[int]) -> bool:
        """Return whether it has one of the parameters, which are given by ``id``."""
        return not parameters.isdisjoint(self._own())

    def is_within(self, other: Model) -> bool:
        """Return whether it is what a script was made of, and was not called itself."""
        if self is other or self.watch is not None or self.module is None or other.module is None:
            return False
        if not is_scripted(other.module):
            return False
        own, others = self._own(), other._own()
        return own < others or (own == others and not is_scripted(self.module))

    def _own(self) -> set[int]:
        return set() if self.module is None else set(map(id, walks.parameters(self.module)))

    def recorded(self) -> int:
        """Return how many steps were recorded."""
        return 0 if self.watch is None else len(self.watch.snapshots)


class Models:
    """Finds and watches the models of the program that runs inside the block.

    Parameters
    ----------
    stepped
        Called with a model after each of its steps; it may raise.
    """

    def __init__(self, config: WatchConfig, stepped: Callable[[Model], None]) -> None:
        self.config, self.stepped = config, stepped
        self.found: list[Model] = []
        self.failures: list[str] = []
        self._known: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._hooks = Hooks()
        self._last = Hooks()
        self._process = os.getpid()

    def __enter__(self) -> Models:
        self._hooks.add(_OnceMade(self._optimizer_made))
        self._hooks.add(ScriptsWithoutHooks())
        # From the start: in loss(model(x), y) the loss is looked up before the model is called.
        self._hooks.enter(criteria_heard(HeardCriteria()))
        self._hooks.add(register_optimizer_step_pre_hook(self._meet))
        self._come_last()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.remove()
        self._last.remove()
        for model in self.found:
            model.remove()

    @property
    def elsewhere(self) -> bool:
        """Whether this is a forked child of the program that is watched."""
        return os.getpid() != self._process

    def _come_last(self) -> None:
        """Be told of a step when every watch has taken it."""
        self._last.remove()
        self._last.add(register_optimizer_step_post_hook(self._after_step))

    # -- finding them

    @never_raises
    def _optimizer_made(
        self, optimizer: Optimizer, frame: FrameType | None, *, met: bool = False
    ) -> None:
        if self.elsewhere or optimizer in self._known:
            return
        self._known.add(optimizer)
        # Of the optimizer itself: before those of all optimizers, to which a new watch adds.
        self._hooks.add(optimizer.register_step_pre_hook(self._before_step))
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        modules = [m.module for m in self.found if m.module is not None]
        held = {id(p) for module in modules for p in walks.parameters(module)}
        new = [p for p in parameters if id(p) not in held]
        if new:
            tree = ModuleTree()
            for module in tree.models_of(new):
                self._expect(module, tree, frame)
            self._take_loose(tree.loose(new), frame, at_once=not met)

    def _take_loose(self, tensors: list[Tensor], frame: FrameType | None, *, at_once: bool) -> None:
        """Watch parameters that no module holds, if there is a matrix among them."""
        if not any(t.dim() >= 2 for t in tensors):
            return
        names = tensor_names(tensors, frame)
        model = Model(LooseParameters(dict(zip(names, tensors, strict=True))), "parameters")
        self.found.append(model)
        if at_once:
            self._begin(model)

    def _expect(self, module: nn.Module, tree: ModuleTree, frame: FrameType | None) -> None:
        """Wait for the first call of a model, of what holds it, or of a part of it."""
        above = tree.above(module)
        model = Model(module, name_of([module, *above], frame))
        self.found.append(model)
        outer = [m for m in above if is_callable(m) and not is_wrapper(m)]
        for part in (*outer, *walks.parts(module)):
            if not isinstance(part, torch.jit.ScriptModule):
                model.waiting.before_call(part, functools.partial(self._called, model))

    # -- watching them

    @never_raises
    def _called(
        self, model: Model, called: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        if model.watch is not None or self.elsewhere or not _with_its_own(model.module, called):
            return
        before = set(called._forward_pre_hooks)
        if called is not model.module and self._is_whole(model, called):
            model.module = called
            model.name = name_of([called, *ModuleTree().above(called)], sys._getframe(2))
        self._merge(model)
        self._begin(model)
        # torch has looked up already which hooks this call has.
        for key, hook in list(called._forward_pre_hooks.items()):
            if key not in before and key in called._forward_pre_hooks_with_kwargs:
                hook(called, inputs, keywords)
            elif key not in before:
                hook(called, inputs)

    def _is_whole(self, model: Model, called: nn.Module) -> bool:
        """Return whether what was called is the model rather than what was found first."""
        parts = set(walks.parts(called))
        if model.module not in parts:  # it is a part: the model's methods are called
            return False
        watched = (m.module for m in self.found if m.watch is not None)
        return not any(module in parts for module in watched)

    def _merge(self, model: Model) -> None:
        """Take models that turn out to be parts of this one as this one."""
        parts = set() if model.module is None else set(walks.parts(model.module))
        waiting = [m for m in self.found if m is not model and m.watch is None]
        for other in [m for m in waiting if m.module in parts]:
            other.waiting.remove()
            self.found.remove(other)
            model.optimizers |= other.optimizers

    @never_raises
    def _begin(self, model: Model) -> Watch | None:
        if model.module is None or any(map(is_lazy, walks.parameters(model.module))):
            return None  # its first call gives it its shapes
        if model.on_meta:
            return None  # whatever moves it to a device gives it values
        model.waiting.remove()
        self._make_room()
        config, module = self.config, self._as_called(model.module)
        model.entries = trained_entries(model.module)
        model.watch = watch(module, every=config.every, window=config.window)
        model.watch.__enter__()
        if model.watch.sampler is not None:
            model.start = Start(model.watch.model)
            model.start.attach()
        self._come_last()
        return model.watch

    def _make_room(self) -> None:
        """Let go of the oldest of very many models, as of a search over settings."""
        running = [m for m in self.found if m.watch is not None and m.watch.seen]
        if len(running) >= _MOST:
            running[0].conclude()

    def _as_called(self, module: nn.Module) -> nn.Module:
        """Return the module that `torch.compile` made of it, if it did."""
        above = ModuleTree().above(module)
        compiled = (m for m in above if "_orig_mod" in m._modules)
        return next((m for m in compiled if m._modules["_orig_mod"] is module), module)

    # -- their steps

    @never_raises
    def _meet(self, optimizer: Optimizer, *_: Any) -> None:
        """Take an optimizer that was not made but copied or loaded, from its next step on."""
        if not self.elsewhere and optimizer not in self._known:
            self._optimizer_made(optimizer, sys._getframe(2), met=True)

    def _before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> Any:
        """Begin the watches of models that were not called yet, as where a closure calls them."""
        if self.elsewhere:
            return None
        frame, found = sys._getframe(1), None
        stepped = self._of(optimizer)
        for model in stepped:
            if any(model.is_within(other) for other in stepped):
                continue
            model.optimizers.setdefault(type(optimizer).__name__)
            if model.start is not None and model.lr is None:
                model.lr = _rate_of(optimizer)
            if model.watch is None and (watch := self._begin(model)) is not None:
                found = watch.step_begins(optimizer, arguments, keywords, frame)
                arguments, keywords = found or (arguments, keywords)
        return found

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not self.elsewhere:
            for model in self._of(optimizer):
                if model.start is not None:
                    model.start.remove()
                self.stepped(model)

    def _of(self, optimizer: Optimizer) -> list[Model]:
        """Return the models that an optimizer trains."""
        first = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return [model for model in self.found if model.holds(first)]


def _rate_of(optimizer: Optimizer) -> float:
    """Return the largest learning rate of an optimizer; a usual one where it has none."""
    rate = largest_rate(optimizer)
    return USUAL_RATE if rate is None or not math.isfinite(rate) else float(rate)


def _loss_of(snapshot: Snapshot) -> float | None:
    """Return a step's loss, that of all its backward passes together, where it was heard."""
    losses = snapshot.notes.losses
    if not losses or any(loss.value is None for loss in losses):
        return None
    scales = [1.0 if loss.scale is None else float(loss.scale) for loss in losses]
    return sum(float(loss.value or 0) / scale for loss, scale in zip(losses, scales, strict=True))


class _OnceMade:
    """Tells of every optimizer that is made, until `remove()`."""

    def __init__(self, told: Callable[[Optimizer, FrameType | None], None]) -> None:
        self._original = original = Optimizer.__init__

        @functools.wraps(original)
        def init(optimizer: Optimizer, *arguments: Any, **keywords: Any) -> None:
            original(optimizer, *arguments, **keywords)
            told(optimizer, sys._getframe(1))

        Optimizer.__init__ = init  # type: ignore[method-assign, assignment]

    def remove(self) -> None:
        """Make optimizers as before."""
        Optimizer.__init__ = self._original  # type: ignore[method-assign]


def _with_its_own(*modules: nn.Module | None) -> bool:
    """Return whether modules hold their own parameters, not what `functional_call` puts there."""
    held = [part for module in modules if module is not None for part in walks.parts(module)]
    # A script shows its own as plain tensors.
    return all(isinstance(p, nn.Parameter) for part in held for p in own_parameters(part))


def trained_entries(module: nn.Module) -> int:
    """Return how many numbers of a module are trained."""
    parameters: list[Tensor] = [p for p in walks.parameters(module) if p.requires_grad]
    return sum(p.numel() for p in parameters)
