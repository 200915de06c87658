"""The settings that a config asks for: every combination of the values of its axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from gradflow.activations import Activation, registry
from gradflow.configs.benchmark import CLIP_VALUE, BenchmarkConfig
from gradflow.configs.fields import several
from gradflow.results.benchmark import Setting


def settings(config: BenchmarkConfig) -> tuple[Setting, ...]:
    """Return every setting once, the activations side by side within each of the others.

    Raises
    ------
    GradflowError
        For an unknown activation, architecture, initialisation or optimiser, and for a dropout
        that is none.
    """
    others = itertools.product(
        _architectures(config),
        _inits(config),
        _optimizers(config),
        several(config.lr),
        several(config.batch_size),
        clippings(config),
    )
    return tuple(dict.fromkeys(_settings(others, list(activations(config)))))


def _settings(others: Iterable[tuple[Any, ...]], names: Iterable[str]) -> Iterator[Setting]:
    for (arch, dropout), init, optimizer, lr, batch_size, clip in others:
        for name in names:
            yield Setting(
                activation=name,
                arch=arch,
                init=init,
                optimizer=optimizer,
                lr=lr,
                batch_size=batch_size,
                dropout=dropout,
                clip=clip,
            )


def activations(config: BenchmarkConfig) -> dict[str, Activation]:
    """Return the activations by canonical name, each once, with `alpha` where it belongs."""
    return {phi.name: phi for phi in registry.activations(several(config.act), config.alpha)}


def clippings(config: BenchmarkConfig) -> tuple[str, ...]:
    """Return the ways of clipping in words: ``value 0.5``, ``norm 1``, ``none``."""
    values, norms = several(config.clip_value), several(config.clip_norm)
    if not values and not norms:
        values = (CLIP_VALUE,)
    words = [f"value {value:g}" if value else "none" for value in values]
    return tuple(dict.fromkeys([*words, *(f"norm {norm:g}" for norm in norms)]))


def _architectures(config: BenchmarkConfig) -> Iterator[tuple[str, str]]:
    """Yield names and dropouts; the architecture's own dropout where none is given."""
    from gradflow.benchmark.networks.classifiers import rates, recipe

    for name in several(config.arch):
        own = recipe(name.lower()).dropout
        given = [rates(str(text)) for text in several(config.dropout)] or [own]
        yield from ((name.lower(), f"{p:g}/{q:g}") for p, q in given)


def _inits(config: BenchmarkConfig) -> Iterator[str]:
    from gradflow.benchmark.networks.classifiers import KERAS
    from gradflow.networks.initialization import INITIALIZERS, initializer

    names = {id(how): name for name, how in INITIALIZERS.items()}
    for text in several(config.init):
        yield KERAS if text.lower() == KERAS else names[id(initializer(text))]


def _optimizers(config: BenchmarkConfig) -> Iterator[str]:
    from gradflow.training.optimizers import find

    for name in several(config.optimizer):
        find(name)
        yield name.lower()
