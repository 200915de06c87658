"""Hearing the calls of torch's own losses: which one, of what, against what."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True)
class CriterionCall:
    """One call of a loss of `torch.nn.functional`.

    Attributes
    ----------
    name
        Of the function: ``"cross_entropy"``, ``"mse_loss"``, …
    input, target
        What it judges, of two the first that takes a gradient; and against what, if that is a
        tensor.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    options
        Its further keyword arguments that are no tensors.
    swapped
        Whether it was given the other way round: `input` is what takes a gradient.
    refused
        What it raised; empty if it did not.
    weighted
        Whether it was given weights, of its classes or its examples.
    """

    name: str
    input: Tensor
    target: Tensor | None
    reduction: str
    options: dict[str, Any]
    swapped: bool = False
    refused: str = ""
    weighted: bool = False


#: The losses that are heard; the modules of `torch.nn` call these functions.
CRITERIA = (
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
    "poisson_nll_loss",
    "gaussian_nll_loss",
    "ctc_loss",
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
)


#: What the first arguments of some are called; of the others, input and target.
_ARGUMENTS = {
    "cosine_embedding_loss": ("input1", "input2", "target"),
    "margin_ranking_loss": ("input1", "input2", "target"),
    "triplet_margin_loss": ("anchor", "positive", "negative"),
}


class _Ear:
    """Stands for one function while somebody listens, and passes on every call."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.listeners: list[list[CriterionCall]] = []
        self.originals: dict[str, Callable[..., Any]] = {}
        self.known: dict[str, Callable[..., Any]] = {}  # what stood for each the last time

    def begin(self, calls: list[CriterionCall]) -> None:
        """Have calls appended to a list."""
        with self.lock:
            if not self.listeners:
                self._patch()
            self.listeners.append(calls)

    def end(self, calls: list[CriterionCall]) -> None:
        """No longer do so."""
        with self.lock:
            self.listeners = [known for known in self.listeners if known is not calls]
            if not self.listeners:
                self._restore()

    def _patch(self) -> None:
        for name in CRITERIA:
            original = getattr(F, name, None)
            if original is not None and not hasattr(original, "_gradflow_ear"):
                self.originals[name] = original
                known: Any = self.known.get(name)
                if known is None or known.__wrapped__ is not original:
                    known = self.known[name] = self._heard(name, original)
                setattr(F, name, known)

    def _restore(self) -> None:
        """Put the functions back, but not over what somebody else has put there since."""
        for name, original in self.originals.items():
            if hasattr(getattr(F, name), "_gradflow_ear"):
                setattr(F, name, original)
        self.originals = {}

    def _heard(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def heard(*arguments: Any, **keywords: Any) -> Any:
            if torch.compiler.is_compiling() or not self.listeners:
                return original(*arguments, **keywords)
            self._tell(name, arguments, keywords)
            try:
                return original(*arguments, **keywords)
            except Exception as error:
                with contextlib.suppress(Exception):  # the program is to see its own
                    self._tell(
                        name, arguments, keywords, refused=str(error) or type(error).__name__
                    )
                raise

        heard._gradflow_ear = True  # type: ignore[attr-defined]
        return heard

    def _tell(
        self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], refused: str = ""
    ) -> None:
        call = _call(name, arguments, keywords)
        if call is None:
            return
        if refused:
            call = replace(call, refused=refused.splitlines()[0])
        for calls in self.listeners:
            last = calls[-1] if calls else None
            if (
                refused
                or last is None
                or last.input is not call.input
                or last.target is not call.target
            ):
                calls.append(call)


def _call(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> CriterionCall | None:
    names = _ARGUMENTS.get(name, ("input", "target"))
    given = dict(zip(names, arguments, strict=False)) | keywords
    of, target = given.get(names[0]), given.get("target")
    if name in _ARGUMENTS:
        judged = (given.get(n) for n in names if n != "target")
        of = next((t for t in judged if isinstance(t, Tensor) and t.requires_grad), of)
    if not isinstance(of, Tensor) or not torch.is_grad_enabled():
        return None
    swapped = not of.requires_grad and isinstance(target, Tensor) and target.requires_grad
    if swapped:
        of, target = target, of
    if not isinstance(of, Tensor) or not of.requires_grad:
        return None
    options = {k: v for k, v in keywords.items() if not isinstance(v, Tensor)}
    return CriterionCall(
        name,
        of,
        target if isinstance(target, Tensor) else None,
        str(options.get("reduction") or "mean"),
        options,
        swapped,
        weighted=any(isinstance(v, Tensor) for v in (*arguments[2:], keywords.get("weight"))),
    )


_EAR = _Ear()


@contextlib.contextmanager
def criteria_heard(calls: list[CriterionCall]) -> Iterator[list[CriterionCall]]:
    """Append every call of one of torch's own losses to `calls` while the block lasts.

    Only calls whose input takes a gradient. Blocks may lie within each other.
    """
    _EAR.begin(calls)
    try:
        yield calls
    finally:
        _EAR.end(calls)
