"""width(): networks of several widths and seeds are trained; what came of it, repaired as well."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gradflow.configs.network import NetworkConfig
from gradflow.configs.width import WidthConfig, WidthNetwork
from gradflow.diagnosis.model_files import Given
from gradflow.diagnosis.objective import Loss, Objective
from gradflow.errors import GradflowError
from gradflow.findings.check import judged
from gradflow.measurement.alone import one_at_a_time
from gradflow.measurement.half_precision import HALF
from gradflow.results.base import plain
from gradflow.results.width import FAIL, ParameterRow, WidthFacts, WidthResult
from gradflow.training.devices import run_meta
from gradflow.training.optimizers import find
from gradflow.widths import checks, repair
from gradflow.widths.campaign import THREADS, Campaign, Progress
from gradflow.widths.coordinates import Trained
from gradflow.widths.parameters import Growth, growths
from gradflow.widths.rows import coordinate_rows, width_rows
from gradflow.widths.subjects import BuiltIn, InFile, Maker, OfFunction


def width(
    model: NetworkConfig | Callable[..., Any],
    inputs: Any = None,
    targets: Any = None,
    *,
    widths: Sequence[int] = WidthConfig.widths,
    loss: Loss | None = None,
    optimizer: str = WidthConfig.optimizer,
    lr: float = WidthNetwork.lr,
    steps: int = WidthConfig.steps,
    seeds: int = WidthNetwork.seeds,
    seed: int = 0,
) -> WidthResult:
    """Say whether training moves every layer as far at every width, and what repairs it.

    Networks of every width take a few steps on one batch, and the change of every layer's outputs
    is compared: the coordinate check of Yang et al. (Tensor Programs V, 2022).

    Parameters
    ----------
    model
        A function of the width that returns a module, or a tuple that begins with one: an optimizer
        in it is the one to train with, the rest is (inputs, targets, loss). Or a config, of a
        built-in network.
    inputs, targets, loss
        For a function: a batch, as for `gradflow.diagnose`.
    widths
        At least two; multipliers are relative to the smallest.
    optimizer, lr
        Name in torch.optim, and learning rate, where the function returns no optimizer.
    steps
        Of training.
    seeds, seed
        Networks at every width, and the first one's seed.

    Returns
    -------
    WidthResult
        A row per layer. ``torch`` holds the repair as a function.

    Raises
    ------
    GradflowError
        If nothing could be trained, or the width changes nothing.
    """
    config = WidthConfig(widths=tuple(widths), optimizer=optimizer, steps=steps)
    if isinstance(model, NetworkConfig):
        return of_config(_of(model, lr, seeds, seed), config)
    maker = OfFunction(model, Objective(inputs, targets, loss), lr)
    network = WidthNetwork(lr=lr, seeds=seeds, seed=seed)
    return _checked(maker, config, network, plain(vars(config)), None)


def _of(model: NetworkConfig, lr: float, seeds: int, seed: int) -> WidthNetwork:
    return WidthNetwork(**{**vars(model), "lr": lr, "seeds": seeds, "seed": seed})


def of_config(
    network: WidthNetwork, config: WidthConfig, progress: Progress | None = None
) -> WidthResult:
    """Check the networks that `network` describes."""
    network.of(config.widths[-1], network.seed)  # refused before anything is trained
    if network.dtype in HALF:
        raise GradflowError(
            f"width trains in float32 or float64, not {network.dtype}", "drop --dtype"
        )
    options = plain({**vars(network), **vars(config)})
    del options["width"]
    return _checked(BuiltIn(network), config, network, options, progress)


def of_file(
    reference: str,
    network: WidthNetwork,
    config: WidthConfig,
    given: Given,
    progress: Progress | None = None,
) -> WidthResult:
    """Check the networks that the function ``file.py:name`` makes."""
    options = plain({"model": reference, **given.options(), "lr": network.lr, **vars(config)})
    return _checked(InFile(reference, network, given), config, network, options, progress)


@one_at_a_time
def _checked(
    maker: Maker,
    config: WidthConfig,
    network: WidthNetwork,
    options: dict[str, Any],
    progress: Progress | None,
) -> WidthResult:
    find(config.optimizer)  # refused before anything is trained
    seeds = tuple(range(network.seed, network.seed + network.seeds))
    campaign = Campaign(maker, config, seeds, progress or (lambda _done, _total: None))
    networks = campaign.train()
    if not networks and campaign.failed:
        raise GradflowError("nothing could be trained: {}: {}".format(*campaign.failed[0]))
    grown = _growths(networks)
    roles = _roles(networks, grown)
    result = WidthResult(
        records=width_rows(networks, roles),
        optimizer=networks[0].optimizer if networks else config.optimizer,
        lr=networks[0].lr if networks else network.lr,
        widths=tuple(sorted({n.width for n in networks})),
        coordinates=tuple(coordinate_rows(networks, repaired=False)),
        meta=run_meta(network, THREADS, options),
    )
    return judged(_repaired(result, campaign, networks, grown, roles), checks.CHECKS)


def _growths(networks: Sequence[Trained]) -> list[Growth]:
    """How parameters grow from the smallest width to the largest.

    Raises
    ------
    GradflowError
        If they do not.
    """
    widths = sorted({n.width for n in networks})
    if len(widths) < 2:
        return []
    shapes = [
        {p.name: p.shape for n in networks if n.width == w for p in n.parameters} for w in widths
    ]
    if shapes[0] == shapes[-1]:
        raise GradflowError(
            f"the networks of width {widths[0]} and {widths[-1]} have the same shapes: the width "
            "is not used",
            "def build(width): … with layers of so many units",
        )
    return growths([(n.width, n.parameters) for n in networks])


def _roles(networks: Sequence[Trained], grown: Iterable[Growth]) -> dict[str, str]:
    """What the width does to every layer's weight, by the layer's name."""
    parameters = {growth.name: growth for growth in grown}
    roles = dict[str, str]()
    for network in networks:
        for layer in network.layers:
            growth = parameters.get(layer.weight)
            if growth is not None:
                roles[layer.name] = "output" if layer.name in growth.readouts else growth.role
    return roles


def _repaired(
    result: WidthResult,
    campaign: Campaign,
    networks: Sequence[Trained],
    grown: list[Growth],
    roles: dict[str, str],
) -> WidthResult:
    """Return the result with its multipliers where a layer fails, and what they make of it."""
    fails, no_repair = any(row.judged == FAIL for row in result.records), None
    again: list[Trained] = []
    rows: tuple[ParameterRow, ...] = ()
    source = ""
    if fails and campaign.finished:
        if repair.known(result.optimizer):
            ratio = result.widths[-1] / result.widths[0]
            rows = repair.parameter_rows(grown, result.optimizer, ratio)
            readouts = [name for growth in grown for name in growth.readouts]
            source = repair.lines(rows, readouts, result.widths[0], result.optimizer)
            again = campaign.train(source)
        else:
            no_repair = f"how the rates of {result.optimizer} go with the width is not published"
    facts = WidthFacts(
        interrupted=not campaign.finished,
        failed=tuple(campaign.failed),
        partial=_partial(networks),
        not_finite=_not_finite(networks),
        no_repair=no_repair,
    )
    return dataclasses.replace(
        result,
        records=width_rows(networks, roles, again),
        parameters=rows,
        torch=source,
        coordinates=(*result.coordinates, *coordinate_rows(again, repaired=True)),
        facts=facts,
    )


def _partial(networks: Sequence[Trained]) -> tuple[str, ...]:
    """Layers that are not there at every width."""
    there: dict[str, set[int]] = {}
    for network in networks:
        for layer in network.layers:
            there.setdefault(layer.name, set()).add(network.width)
    widths = {network.width for network in networks}
    return tuple(name for name, own in there.items() if own != widths)


def _not_finite(networks: Sequence[Trained]) -> tuple[int, ...]:
    found = {
        network.width
        for network in networks
        for layer in network.layers
        if not all(map(math.isfinite, layer.outputs))
    }
    return tuple(sorted(found))
