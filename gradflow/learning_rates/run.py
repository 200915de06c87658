"""learning_rate(): a range test of every seed becomes one result, with its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradflow.configs.learning_rate import LearningRateConfig
from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.model_files import Given
from gradflow.diagnosis.objective import Objective
from gradflow.diagnosis.subject import seeds_of
from gradflow.findings.check import judged
from gradflow.learning_rates import checks
from gradflow.learning_rates.range_test import RangeTest, range_test
from gradflow.learning_rates.rows import rate_fields, rate_rows
from gradflow.learning_rates.subjects import Start, built_in, of_file, of_module
from gradflow.measurement.alone import one_at_a_time
from gradflow.results.base import RunMeta, plain
from gradflow.results.learning_rate import LearningRateResult

#: Called with (steps done, steps in all).
Progress = Callable[[int, int], None]


@overload
def learning_rate(
    model: NetworkConfig, /, *, optimizer: str = "adam", steps: int = LearningRateConfig.steps
) -> LearningRateResult: ...
@overload
def learning_rate(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    optimizer: str | Optimizer = "adam",
    steps: int = LearningRateConfig.steps,
) -> LearningRateResult: ...
@one_at_a_time
def learning_rate(
    model: NetworkConfig | nn.Module,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    optimizer: str | Optimizer = "adam",
    steps: int = LearningRateConfig.steps,
) -> LearningRateResult:
    """Find a learning rate: train a copy for a few steps, each at a larger rate than the last.

    Parameters
    ----------
    model
        A config, of which every seed's network is tested; or any module, which is left as it was:
        a copy is trained.
    inputs, targets
        For a module: a batch of what it is trained on, as for `gradflow.diagnose`.
    loss
        ``loss(output, targets)``, or ``loss(output)`` without targets. Cross-entropy by default;
        without targets, the output's own ``loss``.
    optimizer
        That the rate is for: its name in torch.optim, with its defaults; or the optimizer of the
        module, with all its settings. It is copied as well.
    steps
        Training steps.

    Returns
    -------
    LearningRateResult
        A row per step; ``suggested`` is the rate to start from.

    Raises
    ------
    GradflowError
        If the model cannot be copied or raises, trains nothing, or has no gradient.
    """
    name = optimizer if isinstance(optimizer, str) else type(optimizer).__name__.lower()
    config = LearningRateConfig(optimizer=name, steps=steps)
    if isinstance(model, NetworkConfig):
        return of_config(model, config)
    chosen = config if isinstance(optimizer, str) else optimizer
    start = of_module(model, Objective(inputs, targets, loss), chosen)
    return of_starts([start], config, ())


@one_at_a_time
def of_config(
    network: NetworkConfig,
    config: LearningRateConfig,
    in_use: float | None = None,
    progress: Progress | None = None,
) -> LearningRateResult:
    """Test the network that `network` describes, once per seed."""
    options = plain({**vars(network), **vars(config)})
    seeds = seeds_of(network)
    return of_starts(built_in(network, config), config, seeds, options, in_use, progress)


@one_at_a_time
def learning_rate_of_file(
    reference: str,
    network: NetworkConfig,
    config: LearningRateConfig,
    given: Given,
    in_use: float | None = None,
    progress: Progress | None = None,
) -> LearningRateResult:
    """Test the module that ``file.py:name`` names, once per seed of `network`."""
    options = plain({"model": reference, **given.options(), **vars(config)})
    starts = of_file(reference, network, given, config)
    return of_starts(starts, config, seeds_of(network), options, in_use, progress)


def of_starts(
    starts: Iterable[Start],
    config: LearningRateConfig,
    seeds: tuple[int, ...],
    options: dict[str, Any] | None = None,
    in_use: float | None = None,
    progress: Progress | None = None,
) -> LearningRateResult:
    """Test every network, each of a seed."""
    tests = list[RangeTest]()
    total = config.steps * max(len(seeds), 1)
    done = 0

    def on_step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    device = "cpu"
    for start in starts:
        device = str(next(start.model.parameters()).device)
        tests.append(range_test(start, config.steps, on_step))
    result = LearningRateResult(
        records=rate_rows(tests),
        meta=RunMeta(
            torch=torch.__version__,
            device=device,
            seeds=seeds,
            threads=torch.get_num_threads(),
            config=options or plain(vars(config)),
        ),
        optimizer=config.optimizer,
        in_use=in_use,
        **rate_fields(tests),
    )
    return judged(result, checks.CHECKS)
