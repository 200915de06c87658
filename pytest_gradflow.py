"""gradflow in pytest: the fixture `gradflow`, and a marker of that name.

A module beside the package, which pytest loads at its start: it imports neither gradflow nor torch
before a test asks for the fixture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

    from gradflow.results.diagnosis import DiagnosisResult
    from gradflow.results.watching import WatchResult
    from gradflow.watching.run import Watch

__all__ = ["GradientFlow"]

_MARKER = (
    "gradflow(*codes): the findings that the `gradflow` fixture fails on in this test; "
    "without codes, those of every error."
)


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker is, so that strict markers know it."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def gradflow(request: pytest.FixtureRequest) -> GradientFlow:
    """Assertions on gradient flow: ``gradflow.assert_trainable(model, inputs, targets)``."""
    marker = request.node.get_closest_marker("gradflow")
    return GradientFlow(() if marker is None else marker.args, request.node.add_report_section)


class GradientFlow:
    """What the fixture `gradflow` gives.

    Parameters
    ----------
    codes
        Of the findings to fail on; none: those of every error.
    add_section
        Of the test's report: a test that fails shows the tables of what was measured in it.
    """

    def __init__(self, codes: tuple[str, ...], add_section: Callable[[str, str, str], None]):
        self.codes, self._add_section = codes, add_section

    def assert_trainable(
        self, model: nn.Module, inputs: Any, targets: Any = None, **options: Any
    ) -> DiagnosisResult:
        """Diagnose a model on one batch; fail on what would keep it from learning.

        Parameters
        ----------
        model, inputs, targets, options
            As for `gradflow.diagnose`: ``loss=…``, ``optimizer=…``. The model is left as it was.

        Returns
        -------
        DiagnosisResult
            What was measured, for assertions of your own.
        """
        __tracebackhide__ = True
        from gradflow.diagnosis import diagnose

        result: DiagnosisResult = diagnose(model, inputs, targets, **options)
        self._judge(result)
        return result

    @contextlib.contextmanager
    def assert_training(self, model: nn.Module, **options: Any) -> Iterator[Watch]:
        """Watch a training loop in a ``with`` block; fail at its end on what went wrong in it.

        Parameters
        ----------
        model, options
            As for `gradflow.watch`.
        """
        __tracebackhide__ = True
        from gradflow.watching.run import watch

        with watch(model, **options) as watched:
            yield watched
        self._judge(watched.result())

    def _judge(self, result: DiagnosisResult | WatchResult) -> None:
        from gradflow import report
        from gradflow.errors import GradflowError

        __tracebackhide__ = True
        self._add_section("call", f"gradflow {result.command}", report.text(result))
        try:
            result.assert_healthy(*self.codes)
        except AssertionError as error:
            raise AssertionError(str(error)) from None
        except GradflowError as error:  # a code that does not exist
            pytest.fail(f"{error.message}: {error.hint}", pytrace=False)
