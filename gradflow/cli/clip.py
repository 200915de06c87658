"""`gradflow clip`."""

from __future__ import annotations

import dataclasses

import typer

from gradflow.cli import opening
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.cli.output import Output
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.network import NetworkConfig
from gradflow.configs.tasks import DEFAULT_TASK


def clip(
    context: typer.Context,
    config: ClipConfig,
    network: NetworkConfig,
    output: Output,
    fail_on: FailOn = "",
) -> None:
    """Compare clipping policies: on one gradient, then in training; or find a threshold."""
    from gradflow.cli.progress import stages, working

    codes = parse_fail_on(fail_on)
    given = _given(context, network)
    name = config.task or ("mlp" if _describes_a_network(given) else DEFAULT_TASK)
    config = dataclasses.replace(config, task=name)
    opening.clipping(output, network, config, given)
    with working("loading torch"):
        from gradflow.clipping.run import clip as compare
        from gradflow.clipping.tasks import network_for
    with stages() as progress:
        result = compare(network_for(name, network, given), config, progress)
    output.emit(result, codes)


def _given(context: typer.Context, network: NetworkConfig) -> set[str]:
    """Return the fields of `network` that the user set, be it to their defaults."""
    names = {f.name for f in dataclasses.fields(network)}
    sources = {name: context.get_parameter_source(name) for name in names}
    return {name for name, source in sources.items() if source and source.name != "DEFAULT"}


def _describes_a_network(given: set[str]) -> bool:
    """Whether one of the options is of the panel ``Network``: what is built, not how it is run."""
    specs = {f.name: f.metadata["option"] for f in dataclasses.fields(NetworkConfig)}
    return any(specs[name].panel == "Network" for name in given)
