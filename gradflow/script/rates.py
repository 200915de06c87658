"""A learning rate for a program: it runs until its first training step; copies take the test."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from gradflow.configs.learning_rate import LearningRateConfig
from gradflow.diagnosis.objective import mapped
from gradflow.errors import GradflowError
from gradflow.learning_rates.run import Progress, of_starts
from gradflow.learning_rates.subjects import Start, copied, without_scheduler
from gradflow.measurement.failures import first_line
from gradflow.measurement.hooks import Hooks
from gradflow.results.learning_rate import LearningRateResult
from gradflow.script.discovery import LooseParameters
from gradflow.script.endings import Ending, ending_of
from gradflow.script.limit import Limit
from gradflow.script.program import Program
from gradflow.script.tape import Call, Kept, Loss, Made, Tape, results_of
from gradflow.training.optimizers import largest_rate
from gradflow.watching.optimizers import with_closure

#: Difference from the program's own loss, as a share, and cosine of the gradients, from which on
#: what was computed again is not what the program computes.
_OTHER_LOSS, _OTHER_WAY = 0.05, 0.9


@dataclass
class RateRun:
    """A program that is run until its first training step, and tested there.

    Parameters
    ----------
    last_resort
        Called with the result where the program cannot be ended; it is to end the process.

    Attributes
    ----------
    ending
        How the program ended; None before.
    """

    program: Program
    config: LearningRateConfig = field(default_factory=LearningRateConfig)
    progress: Progress | None = None
    last_resort: Callable[[], None] | None = None
    ending: Ending | None = None
    result: LearningRateResult | None = None
    error: Exception | None = None

    def run(self) -> LearningRateResult | None:
        """Run the program; return the result, or None where it ended before with a code of its own.

        Raises
        ------
        GradflowError
            If it took no training step, or one that cannot be repeated on copies.
        """
        self.program.refuse_missing()
        self._tape, self._process, self._hooks = Tape(), os.getpid(), Hooks()
        self._limit = Limit(self.last_resort or (lambda: None))
        try:
            self._hooks.add(register_optimizer_step_pre_hook(self._before_step))
            self._hooks.add(self._tape)
            self._tape.attach()
            self.ending = ending_of(self.program.run)
        finally:
            self._limit.remove()
            self._hooks.remove()
        if os.getpid() != self._process:  # a child that the program forked goes its own way
            os._exit(self.ending.code or 0)
        return self._outcome(self.ending)

    @property
    def code(self) -> int:
        """What the program ended with itself; 1 where that is not known."""
        return 1 if self.ending is None or self.ending.code is None else self.ending.code

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.ending is not None and self.ending.interrupted

    def _outcome(self, ending: Ending) -> LearningRateResult | None:
        if self.error is not None:
            raise self.error
        if self.result is not None:
            return self.result
        if ending.code or ending.interrupted:
            return None
        raise GradflowError(
            "the program ended without a training step",
            "a step of an optimizer of torch.optim, in the main thread, after backward()",
        )

    # -- the step

    def _before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> Any:
        if os.getpid() != self._process or self._limit.reached:
            return None
        evaluated = functools.partial(self._tested, optimizer)
        followed = with_closure(arguments, keywords, evaluated)
        if followed is None and self._tape.record.losses:
            evaluated()
        return followed

    def _tested(self, optimizer: Optimizer) -> None:
        """Take the test, and end the program."""
        self._hooks.remove()
        try:
            self.result = self._result(optimizer)
        except Exception as error:  # said when the program is over
            self.error = error
        self._limit.end()

    def _result(self, optimizer: Optimizer) -> LearningRateResult:
        start = start_of(self._tape, optimizer)
        rate = largest_rate(optimizer)
        in_use = float(rate) if rate is not None and math.isfinite(rate) and rate > 0 else None
        config = replace(self.config, optimizer=type(optimizer).__name__.lower())
        options = {**self.program.named(), **vars(config)}
        result = of_starts([start], config, (), options, in_use, self.progress)
        how = ("-m", self.program.target) if self.program.is_module else (self.program.target,)
        command = " ".join(("gradflow lr", *how, *self.program.argv))
        return replace(result, meta=replace(result.meta, command=command))


# -- the copies


def start_of(tape: Tape, optimizer: Optimizer) -> Start:
    """Return copies of all that made the program's loss, and of its optimizer.

    Raises
    ------
    GradflowError
        If the loss cannot be computed again, or comes to something else.
    """
    losses = tape.record.losses
    calls = tape.record.needed(losses)
    if tape.failures or any(loss.number is None for loss in losses) or _unknown(calls):
        raise _not_followed("a part of it is no call of a module or function of torch")
    again = _Again(calls, losses, optimizer)
    again.compare()
    return Start(again.model, again.optimizer, again.loss)


def _unknown(calls: Sequence[Call]) -> bool:
    return any(isinstance(part, Kept) and part.unknown for call in calls for part in call.parts())


def _not_followed(why: str) -> GradflowError:
    return GradflowError(
        f"the program's loss cannot be computed again on copies: {why}",
        "gradflow.learning_rate(model, inputs, targets, loss=…, optimizer=…) in the program",
    )


class _Again:
    """The calls that make a loss, made again with copies of the modules.

    Attributes
    ----------
    model
        All that was copied, as one module.
    """

    def __init__(self, calls: Sequence[Call], losses: Sequence[Loss], optimizer: Optimizer) -> None:
        self.calls, self.losses = calls, losses
        modules = list(dict.fromkeys(c.called for c in calls if isinstance(c.called, nn.Module)))
        self._originals = [p for group in optimizer.param_groups for p in group["params"]]
        self._copies: dict[int, Any] = {}
        copies, self.optimizer = copied((modules, optimizer), self._copies)
        without_scheduler(self.optimizer)
        held = {id(p) for module in copies for p in module.parameters()}
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        loose = {str(i): p for i, p in enumerate(trained) if id(p) not in held}
        self.model = nn.ModuleList([*copies, LooseParameters(loose)])
        self.optimizer.zero_grad()

    def loss(self, *, as_before: bool = False) -> Tensor:
        """Return the sum of the losses of one step.

        Parameters
        ----------
        as_before
            Whether random numbers are those of the program.
        """
        made: dict[int, Tensor] = {}
        fresh: dict[int, Tensor] = {}
        for call in self.calls:
            if as_before and call.random is not None:
                torch.set_rng_state(call.random)
            value, arguments = self._made(call, made, fresh)
            made.update(zip(call.results, results_of(value, arguments), strict=True))
        each = [made[loss.number or 0].sum() / loss.scale for loss in self.losses]
        return torch.stack(each).sum()

    def _made(
        self, call: Call, made: dict[int, Tensor], fresh: dict[int, Tensor]
    ) -> tuple[Any, Any]:
        """Make one call; return its value, and what it was given."""

        def given(value: Any) -> Any:
            if isinstance(value, Made):
                return made[value.number]
            if isinstance(value, Kept):
                key, kept = id(value.tensor), value.tensor
                if key not in self._copies and key not in fresh:
                    fresh[key] = kept.detach().clone().requires_grad_(kept.requires_grad)
                return self._copies.get(key, fresh.get(key))
            return value

        called = self._copies.get(id(call.called), call.called)
        arguments = mapped(given, call.arguments)
        kind, dtype, on = call.autocast
        with torch.autocast(kind, dtype, on) if on else contextlib.nullcontext():
            return called(*arguments, **mapped(given, call.keywords)), arguments

    def compare(self) -> None:
        """Refuse what comes to another loss or gradient than the program's."""
        try:
            with _random_kept(), torch.enable_grad():
                loss = self.loss(as_before=True)
                torch.autograd.backward(loss)
        except Exception as error:
            raise _not_followed(first_line(error)) from error
        own = sum(one.value / one.scale for one in self.losses)
        value = float(loss.detach())
        if math.isfinite(own) and not abs(value - own) <= _OTHER_LOSS * abs(own) + 1e-6:
            raise _not_followed(f"it comes to {value:.4g} there, and to {own:.4g} in the program")
        if (cosine := self._cosine()) is not None and cosine < _OTHER_WAY:
            raise _not_followed("its gradient is another one there")
        self.optimizer.zero_grad()

    def _cosine(self) -> float | None:
        """Return that of the gradient with the program's own; None where one is 0."""
        pairs = [(p.grad, self._copies[id(p)].grad) for p in self._originals]
        known = [(_entries(a), _entries(b)) for a, b in pairs if a is not None and b is not None]
        own, other, both = (
            sum(float(a @ b) for a, b in sides)
            for sides in ([(a, a) for a, _ in known], [(b, b) for _, b in known], known)
        )
        size = math.sqrt(own) * math.sqrt(other)
        return both / size if 0 < size < math.inf else None


def _entries(gradient: Tensor) -> Tensor:
    return gradient.detach().to_dense().double().flatten()


@contextlib.contextmanager
def _random_kept() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield
