"""The first line of a command that takes seconds: there before torch is, in a pipe as well.

It is what theory says of the network; else, after ``…``, what is being done. It is left out where
only torch can tell whether the options mean something: what is refused prints nothing. So a
model in a file has no such line: only loading it shows whether it is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from gradflow.cli.output import Output
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.configs.choices import OPTIMIZER_NAMES
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.fields import several
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import listed
from gradflow.configs.sweep import SweepConfig
from gradflow.configs.tasks import TASKS
from gradflow.errors import GradflowError

#: Fields of a network whose names are looked up without torch.
_NETWORK = ("arch", "act", "init", "norm", "norm_position")
#: The device that every machine has.
_CPU = ("device", "cpu")


def measuring(output: Output, network: NetworkConfig, optimizer: str | None) -> None:
    """Say what theory expects of a built-in network, or else what is measured.

    Raises
    ------
    GradflowError
        For a name that is unknown.
    """
    _check(network)
    if output.json or not (is_usual(network, _NETWORK) and _is_optimizer(optimizer)):
        return
    from gradflow.diagnosis.expected import expected_flow

    flow = expected_flow(network)
    output.tell(f"… measuring {described(network)}" if flow is None else flow.title)


def sweeping(output: Output, config: SweepConfig) -> None:
    """Say where theory sees the edge of chaos, or else how much is measured.

    Raises
    ------
    GradflowError
        For an activation that is unknown.
    """
    from gradflow.activations import activation

    for act in config.act:
        activation(act, alpha=config.alpha)
    if output.json or not is_usual(config, ("act",)):
        return
    from gradflow.sweeps.predictions import edges

    titles = [edge.title for edge in edges(config)]
    usual = f"… measuring {counted(config.points, 'networks')}"
    output.tell((len(titles) == 1 and titles[0]) or usual)


def training(
    output: Output, network: NetworkConfig, config: Any, widths: Collection[int] = ()
) -> None:
    """Say what is trained, where a built-in network is: of its width, or of several.

    Raises
    ------
    GradflowError
        For a name that is unknown.
    """
    _check(network)
    usual = is_usual(network, _NETWORK) and is_usual(config, ("optimizer",))
    if not output.json and usual and _is_optimizer(config.optimizer):
        output.tell(f"… training {described(network, widths)}; {config.optimizer}")


def clipping(
    output: Output, network: NetworkConfig, config: ClipConfig, given: Collection[str]
) -> None:
    """Say what is trained under which policies."""
    task = TASKS.get(config.task or "")
    if output.json or task is None or not _can_clip(network, config):
        return
    if task.takes is not None and not task.takes.issuperset(given):
        return
    if "data" in task.defaults and "batch_size" in given:  # it may be more than there are images
        return
    verb = "measuring" if config.steps == 0 else "training"
    what = described(network) if config.task == "mlp" else task.summary
    how = "thresholds" if config.suggest else listed(config.policy, "and")
    output.tell(f"… {verb} {what} under {how}")


def _can_clip(network: NetworkConfig, config: ClipConfig) -> bool:
    try:
        _check(network)
    except GradflowError:  # of a sequence it may mean something
        return False
    named = is_usual(network, _NETWORK) and is_usual(config, ("task", "optimizer"))
    bounded = config.sequence_length is None and not (config.suggest and config.steps is not None)
    return named and bounded and _is_optimizer(config.optimizer)


def benchmarking(output: Output, config: BenchmarkConfig, plan: bool) -> None:
    """Say what is trained, or timed, on the whole of MNIST or on what --quick takes of it."""
    sizes = config.train_size is None and config.validation_size is None
    if output.json or not (sizes and is_usual(config, ("act",))):
        return
    acts = several(config.act)
    what = "timing a few steps of" if plan else "training"
    output.tell(f"… {what} {counted(len(acts), 'networks')} on MNIST: {listed(acts, 'and')}")


def _check(network: NetworkConfig) -> None:
    from gradflow.networks.checking import check_network

    check_network(network)


def _is_optimizer(name: str | None) -> bool:
    return name is None or name in OPTIMIZER_NAMES


def is_usual(config: Any, but: Collection[str] = ()) -> bool:
    """Return whether every name in a config is its default, those of some fields left out."""
    return all(
        getattr(config, f.name) == f.default or (f.name, getattr(config, f.name)) == _CPU
        for f in dataclasses.fields(config)
        if f.name not in but and _is_name(getattr(config, f.name))
    )


def _is_name(value: Any) -> bool:
    return isinstance(next(iter(value), None) if isinstance(value, tuple) else value, str)


def described(network: NetworkConfig, widths: Collection[int] = ()) -> str:
    """Return a built-in network in a few words."""
    kind = network.architecture
    act = f", {network.act}" if kind.takes_act else ""
    units = listed(map(str, widths or [network.width]), "and")
    return f"{network.arch}: {counted(network.depth, kind.depth)} of {units} units{act}"


def counted(number: int, words: str) -> str:
    """Return ``1 layer``, ``2 layers``."""
    return f"{number:,} {words if number != 1 else words.removesuffix('s')}"
