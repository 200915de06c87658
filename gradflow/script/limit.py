"""Ending a program after so many steps, whatever it catches."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gradflow.measurement.hooks import Hooks
from gradflow.script.endings import Ended

#: Seconds for a program to end by itself, and between two further attempts.
_PATIENCE, _BETWEEN = 5.0, 0.5
#: Attempts until the process is ended instead.
_ATTEMPTS = 20


class Limit:
    """Ends the program: by an exception, which is raised again wherever it goes on.

    Parameters
    ----------
    last_resort
        Called, in whichever thread, where the program catches everything.
    """

    def __init__(self, last_resort: Callable[[], None]) -> None:
        self.last_resort = last_resort
        self.reached = False
        self._hooks = Hooks()
        self._over = threading.Event()
        self._raised = 0
        self._main = threading.main_thread().ident or 0

    def end(self) -> None:
        """End the program from here on.

        Raises
        ------
        Ended
            Always.
        """
        if not self.reached:
            self.reached = True
            self._hooks.add(register_module_forward_pre_hook(self._again))
            self._hooks.add(register_optimizer_step_pre_hook(self._again))
            threading.Thread(target=self._insist, daemon=True).start()
        raise Ended

    def remove(self) -> None:
        """Say that the program is over."""
        self._over.set()
        self._hooks.remove()

    def _again(self, *_: Any) -> None:
        self._raised += 1
        if self._raised > 10 * _ATTEMPTS:
            self._give_up()
        raise Ended

    def _insist(self) -> None:
        """Raise it in the main thread, too, where nothing of torch is called any more."""
        self._over.wait(_PATIENCE)
        for _ in range(_ATTEMPTS):
            if self._over.is_set():
                return
            raise_in_thread(self._main, Ended)
            self._over.wait(_BETWEEN)
        if not self._over.is_set():
            self._give_up()

    def _give_up(self) -> None:
        self._hooks.remove()
        self.last_resort()


def raise_in_thread(thread: int, kind: type[BaseException]) -> None:
    """Have an exception raised in a thread, as soon as it runs Python code."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
