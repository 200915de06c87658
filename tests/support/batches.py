"""One batch of a program of one's own: its facts, and what the checks say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.findings.batch_checks import BATCH_CHECKS, LATE_BATCH_CHECKS
from gradflow.measurement.batch import BatchLook
from gradflow.results.base import Finding
from gradflow.results.diagnosis import DiagnosisFacts, DiagnosisResult
from gradflow.results.facts import BatchFacts


def facts_of(
    model: nn.Module, run: Callable[[], Tensor], lr: float | None = 0.01, outside: Any = None
) -> BatchFacts:
    """Return the facts of one batch.

    Parameters
    ----------
    run
        Calls the model and returns the loss.
    """
    look = BatchLook(model, lr)
    with look.attached():
        loss = run()
        look.before_backward(loss)
        trained = [p for p in model.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss, trained, allow_unused=True)
        look.after_backward({id(p): g for p, g in zip(trained, found, strict=True)})
    return look.facts


def findings_of(facts: BatchFacts) -> list[Finding]:
    """Return what the checks say of the facts of a batch."""
    result = DiagnosisResult(facts=DiagnosisFacts(batch=facts))
    return [finding for check in (*BATCH_CHECKS, *LATE_BATCH_CHECKS) for finding in check(result)]


def said(model: nn.Module, run: Callable[[], Tensor], lr: float | None = 0.01) -> dict[str, str]:
    """Return the severities of the findings on one batch, by code."""
    return {f.code: f.severity for f in findings_of(facts_of(model, run, lr))}
