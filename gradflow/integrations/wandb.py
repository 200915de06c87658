"""A watched run in Weights & Biases, or in what speaks its API."""

from __future__ import annotations

import itertools
from typing import Any

from gradflow.integrations.session import missing
from gradflow.report.scalars import scalars
from gradflow.results.watching import WatchResult

__all__ = ["log_to_wandb"]

_STEP = "gradflow/step"


def log_to_wandb(result: WatchResult, run: Any = None) -> None:
    """Log every recorded step of a watched run, and its verdict.

    The numbers have an axis of their own, ``gradflow/step``, so that they can be logged after
    training. Their names are those of `WatchResult.to_tensorboard`.

    Parameters
    ----------
    result
        Of `gradflow.watch`, or of a callback.
    run
        What to log to: anything with ``log(dictionary)``, as of W&B, trackio or swanlab. By default
        W&B's run under way.

    Raises
    ------
    ImportError
        If no run is given and W&B is not installed.

    Examples
    --------
    >>> with wandb.init(project="…") as run:  # doctest: +SKIP
    ...     log_to_wandb(callback.result, run)
    """
    run = _under_way() if run is None else run
    if hasattr(run, "define_metric"):
        run.define_metric(_STEP)
        run.define_metric("gradflow/*", step_metric=_STEP)
    ordered = sorted(scalars(result), key=lambda scalar: scalar[1])
    for step, group in itertools.groupby(ordered, key=lambda scalar: scalar[1]):
        run.log({_STEP: step, **{tag: value for tag, _, value in group}})
    if hasattr(run, "summary"):
        run.summary["gradflow/verdict"] = result.verdict
        for finding in result.findings:
            run.summary[f"gradflow/finding/{finding.code}"] = finding.message


def _under_way() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise missing("wandb", error) from None
    return wandb if wandb.run is None else wandb.run
