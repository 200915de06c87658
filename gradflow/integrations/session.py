"""What every framework's callback does: watch a model while somebody else's loop trains it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from gradflow.errors import GradflowError, unknown_name
from gradflow.results.base import Result
from gradflow.results.watching import WatchResult

if TYPE_CHECKING:
    from torch import nn

    from gradflow.watching.run import Watch

T = TypeVar("T")


def missing(extra: str, error: ImportError) -> ImportError:
    """Return the error for an extra that is not installed, which says how to install it."""
    return ImportError(f"{error}: pip install 'gradflow-diagnostics[{extra}]'", name=error.name)


def _never_breaks(method: Callable[..., T]) -> Callable[..., T | None]:
    """Warn of what goes wrong, once, and watch no more: training goes on."""

    @functools.wraps(method)
    def safe(self: Session, *arguments: Any) -> T | None:
        if self.failed:
            return None
        try:
            return method(self, *arguments)
        except Exception as error:  # whatever a foreign model raises
            self.failed = f"{type(error).__name__}: {error}"
            warnings.warn(f"gradflow watches no more: {self.failed}", stacklevel=3)
            self.leave()
            return None

    return safe


class Session:
    """One training run that is watched; it never breaks the loop that it is part of.

    Parameters
    ----------
    fail_on
        Codes of findings that end the training: one, or several.
    check_every
        Steps between two looks for them.
    options
        Of `gradflow.watch`.

    Raises
    ------
    GradflowError
        For a code that does not exist, or a `check_every` below 1.
    """

    def __init__(
        self, fail_on: str | Iterable[str], check_every: int, options: dict[str, Any]
    ) -> None:
        self.codes = frozenset([fail_on] if isinstance(fail_on, str) else fail_on)
        for code in sorted(self.codes):
            if code not in Result.codes():
                raise unknown_name("finding", code, Result.codes())
        if check_every < 1:
            raise GradflowError(f"check_every must be at least 1, got {check_every}")
        self.check_every, self.options = check_every, options
        self.watch: Watch | None = None
        self.failed: str | None = None
        self.stopped_by: str | None = None
        self._result: WatchResult | None = None

    @_never_breaks
    def begin(self, model: nn.Module) -> None:
        """Watch `model` from now on; a second training begins anew."""
        from gradflow.watching.run import watch

        self.leave()
        self._result = self.stopped_by = None
        self.watch = watch(model, **self.options)
        self.watch.__enter__()

    @_never_breaks
    def wrong(self) -> str | None:
        """Return the code that the training is to end for; looks every so many steps."""
        watch = self.watch
        if not self.codes or watch is None or watch.seen == 0 or watch.seen % self.check_every:
            return None
        found = [finding.code for finding in watch.result().findings]
        self.stopped_by = next((code for code in found if code in self.codes), None)
        return self.stopped_by

    @_never_breaks
    def end(self) -> None:
        """Watch no more, and keep what was seen."""
        if self.watch is not None:
            self.leave()
            self._result, self.watch = self.watch.result(), None

    def leave(self) -> None:
        """Take the hooks off the model."""
        if self.watch is not None:
            self.watch.__exit__(None, None, None)

    @property
    def result(self) -> WatchResult:
        """What was seen, so far where the training still runs.

        Raises
        ------
        GradflowError
            If nothing was watched, with the reason.
        """
        if self._result is not None:
            return self._result
        if self.watch is None or self.failed:
            raise GradflowError(f"nothing was watched: {self.failed or 'no training began'}")
        return self.watch.result()


class Watching:
    """The part of a callback that is the same in every framework.

    Parameters
    ----------
    fail_on
        Codes of findings that end the training, as ``"vanishing"`` or ``["dead", "exploding"]``.
        They are looked for every `check_every` steps.
    check_every
        Steps between two looks; a look costs more, the longer the training is.
    options
        Of `gradflow.watch`: ``every``, ``sample_every``, ``activations``, …
    """

    def __init__(
        self, *, fail_on: str | Iterable[str] = (), check_every: int = 100, **options: Any
    ) -> None:
        super().__init__()
        self.session = Session(fail_on, check_every, options)

    @property
    def result(self) -> WatchResult:
        """What was seen: `gradflow.watch`'s result, of a training under way as far as it is."""
        return self.session.result

    @property
    def stopped_by(self) -> str | None:
        """The code of the finding that ended the training; None where none did."""
        return self.session.stopped_by
