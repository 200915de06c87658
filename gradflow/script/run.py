"""watch_script(): run a program, watch the models that it trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from gradflow.configs.watching import WatchConfig
from gradflow.results.base import RunMeta
from gradflow.results.watching import WatchResult
from gradflow.script.endings import Ending, ending_of
from gradflow.script.limit import Limit
from gradflow.script.models import Model, Models
from gradflow.script.program import Program, argv_of
from gradflow.script.sections import program_result

#: Called with a model after each of its steps.
Listener: TypeAlias = "Callable[[Model], None]"


def watch_script(
    path: str | os.PathLike[str],
    argv: Sequence[object] = (),
    steps: int | None = None,
    every: int = 1,
    *,
    window: int = 8,
    module: bool = False,
) -> WatchResult:
    """Run a program as ``python PATH ARGV…`` would, and watch every model that it trains.

    The program runs in this process, as ``__main__``; what it raises is printed as Python prints
    it, and its exit code is the result's ``script_exit_code``.

    Parameters
    ----------
    path
        A file; with `module` the name of a module, as of ``python -m``.
    argv
        The program's arguments.
    steps
        End the program after so many recorded steps of one model, whatever it catches.
    every
        Record every so many steps, from the first on.
    window
        Sampled batches over which a unit has to give slope 0 for every example to count as dead.

    Returns
    -------
    WatchResult
        Of all the models; `models` has each by itself.

    Raises
    ------
    GradflowError
        If there is no such file or module, or a number is out of range.
    """
    program = Program(os.fspath(path), argv_of(argv), module)
    return ScriptRun(program, WatchConfig(steps, every, window)).run()


@dataclass
class ScriptRun:
    """A program that is run and watched.

    Parameters
    ----------
    listener
        Called with a model after each of its steps.
    last_resort
        Called with the result where the program cannot be ended; it is to end the process.
    """

    program: Program
    config: WatchConfig = field(default_factory=WatchConfig)
    listener: Listener | None = None
    last_resort: Callable[[WatchResult], None] | None = None

    def run(self) -> WatchResult:
        """Run the program, and return what was seen."""
        self.program.refuse_missing()
        limit = Limit(self._give_up)
        self._models = models = Models(self.config, self._stepped(limit))
        with models:
            try:
                ending = ending_of(self.program.run)
            finally:
                limit.remove()
            if models.elsewhere:  # a child that the program forked goes its own way
                os._exit(ending.code or 0)
        return self.result(ending)

    def _stepped(self, limit: Limit) -> Listener:
        def stepped(model: Model) -> None:
            if self.listener is not None:
                self.listener(model)
            if self.config.steps is not None and model.recorded() >= self.config.steps:
                limit.end()

        return stepped

    def result(self, ending: Ending) -> WatchResult:
        """Return what was seen of the program so far."""
        return program_result(self._models.found, ending, self._meta())

    def _give_up(self) -> None:
        if self.last_resort is not None:
            self.last_resort(self.result(Ending(code=None)))

    def _meta(self) -> RunMeta:
        program = self.program
        how = ("-m", program.target) if program.is_module else (program.target,)
        config: dict[str, Any] = {**program.named(), "steps": self.config.steps}
        return RunMeta(
            torch=torch.__version__,
            threads=torch.get_num_threads(),
            command=" ".join(("gradflow watch", *how, *program.argv)),
            config=config | {"every": self.config.every, "window": self.config.window},
        )
