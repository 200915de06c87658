"""diagnose(): build, run one forward and backward pass over all seeds at once, check."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn

from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis import checks
from gradflow.diagnosis.builtin import _diagnose_config
from gradflow.diagnosis.objective import Task
from gradflow.diagnosis.rows import (
    _fields,
    _result,
    stacked_fields,
    with_underflow,
)
from gradflow.diagnosis.user_module import measure_module
from gradflow.errors import GradflowError
from gradflow.findings.check import judged
from gradflow.results.base import RunMeta
from gradflow.results.diagnosis import DiagnosisResult
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select


@overload
def diagnose(model: NetworkConfig, /, *, remedies: bool = False) -> DiagnosisResult: ...
@overload
def diagnose(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float = 0.01,
) -> DiagnosisResult: ...
def diagnose(
    model: NetworkConfig | nn.Module,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Callable[..., Tensor] | None = None,
    lr: float = 0.01,
    remedies: bool = False,
) -> DiagnosisResult:
    """Measure gradient flow through a network, and say what is wrong with it.

    Parameters
    ----------
    model
        A config, of which `seeds` networks are built and measured at once; or any module, which
        is left as it was (parameters, buffers, ``.grad``, mode, hooks, random state). Compiled
        and data-parallel modules are measured through the module inside.
    inputs, targets
        For a module: what it is called with (a tensor; a tuple or list of arguments; a dictionary
        of keyword arguments), and what the loss is called with after its output.
    loss
        ``loss(output, targets)``, or ``loss(output)`` without targets; its mean or sum over the
        examples. Cross-entropy by default; without targets, the output's own ``loss``.
    lr
        Learning rate that the update ratio is for.
    remedies
        For a config whose network is unhealthy: change one thing at a time and measure again.

    Returns
    -------
    DiagnosisResult
        One row per layer with weights, in the order of the forward pass.

    Raises
    ------
    GradflowError
        If the model raises (with the layer that it reached and the exception's line), trains no
        parameter, or gives nothing to take a loss of.
    """
    if isinstance(model, NetworkConfig):
        result = _diagnose_config(model)
        if not remedies or result.verdict == "healthy":
            return result
        from gradflow.diagnosis.remedies import tried

        return dataclasses.replace(result, remedies=tried(model, result, _diagnose_config))
    return diagnose_module(model, Task(inputs, targets, loss), lr)


def diagnose_module(model: nn.Module, task: Task, lr: float) -> DiagnosisResult:
    """Measure a module that was not built here, on one task."""
    seen = measure_module(model, task)
    measured = seen.measurement
    fields = _fields(measured, seen.examples, lr, summed=not seen.averaged)
    meta = RunMeta(
        torch=torch.__version__,
        device=str(measured.loss.device),
        dtype=str(measured.loss.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )
    lost = seen.underflow
    result = _result(
        measured,
        with_underflow(fields, lost),
        meta,
        loss=measured.loss.double().mean().item(),
        suggested_loss_scale=None if lost is None else lost.loss_scale,
        facts=seen.facts,
    )
    return judged(result, checks.CHECKS)


def diagnose_file(
    reference: str, config: NetworkConfig, input_shape: str | None = None
) -> DiagnosisResult:
    """Measure the module that ``file.py:name`` names, once per seed of `config`.

    Parameters
    ----------
    config
        Of which batch size, loss, learning rate, seeds, dtype and device apply.
    input_shape
        Of one example, ``"3,32,32"``; where the file gives inputs of its own, it may be left out.

    Raises
    ------
    GradflowError
        If the file, its model or the options are unusable.
    """
    from gradflow.diagnosis.model_files import built, task_for

    _refuse_network_options(config)
    seen, layers = None, []
    for seed in range(config.seed, config.seed + config.seeds):
        found = built(reference, seed, several=config.seeds > 1)
        model = found.model.to(select(config.device), dtype_of(config.dtype))
        task = task_for(found, config, input_shape)
        seen = measure_module(model, task)
        measured = seen.measurement
        fields = _fields(measured, seen.examples, config.lr, summed=not seen.averaged)
        layers.append(with_underflow(fields, seen.underflow))
    assert seen is not None
    measured = seen.measurement
    meta = RunMeta(
        torch=torch.__version__,
        device=str(measured.loss.device),
        dtype=config.dtype,
        seeds=tuple(range(config.seed, config.seed + config.seeds)),
        threads=torch.get_num_threads(),
        config={"model": reference, "input_shape": input_shape, **_applying(config)},
    )
    loss = measured.loss.double().mean().item()
    scale = None if seen.underflow is None else seen.underflow.loss_scale
    fields = stacked_fields(layers)
    result = _result(
        measured, fields, meta, loss=loss, suggested_loss_scale=scale, facts=seen.facts
    )
    return judged(result, checks.CHECKS)


#: What a config says of a user's model; everything else describes a built-in network.
_APPLYING = ("batch_size", "loss", "loss_scale", "lr", "seed", "seeds", "dtype", "device")


def _applying(config: NetworkConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in _APPLYING}


def _refuse_network_options(config: NetworkConfig) -> None:
    defaults = NetworkConfig()
    for f in dataclasses.fields(config):
        if f.name not in _APPLYING and getattr(config, f.name) != getattr(defaults, f.name):
            raise GradflowError(
                f"--{f.name.replace('_', '-')} describes a built-in network, not --model",
                "drop it, or build it into the model",
            )
