"""The settings that a config asks for: every combination of the values of its axes."""

from __future__ import annotations

import dataclasses
import itertools
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gradflow.activations import Activation, registry
from gradflow.configs.benchmark import CLIP_VALUE, BenchmarkConfig
from gradflow.configs.fields import several
from gradflow.results.benchmark import Setting

#: Fields of a setting, by name, with their values.
Fields = dict[str, Any]


def settings(config: BenchmarkConfig) -> tuple[Setting, ...]:
    """Return every setting once, the activations side by side within each of the others.

    Every field of `Setting` is an axis: its values are those of the config's field of that name,
    unless `_VALUES` says how they are found.

    Raises
    ------
    GradflowError
        For an unknown activation, architecture, initialisation or optimiser, and for a dropout
        that is none.
    """
    names = [f.name for f in dataclasses.fields(Setting)]
    names.sort(key=lambda name: name == "activation")  # the last one varies fastest
    axes = [list(_values(config, name)) for name in names]
    combined = (dict(ChainMap(*parts)) for parts in itertools.product(*axes))
    return tuple(dict.fromkeys(Setting(**fields) for fields in combined))


def _values(config: BenchmarkConfig, name: str) -> Iterable[Fields]:
    if name in _VALUES:
        return _VALUES[name](config)
    return ({name: value} for value in several(getattr(config, name)))


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


def _activations(config: BenchmarkConfig) -> Iterator[Fields]:
    return ({"activation": name} for name in activations(config))


def _clippings(config: BenchmarkConfig) -> Iterator[Fields]:
    return ({"clip": words} for words in clippings(config))


def _architectures(config: BenchmarkConfig) -> Iterator[Fields]:
    """Yield names with dropouts; the architecture's own dropout where none is given."""
    from gradflow.benchmarking.networks.classifiers import rates, recipe

    for name in several(config.arch):
        own = recipe(name.lower()).dropout
        given = [rates(str(text)) for text in several(config.dropout)] or [own]
        yield from ({"arch": name.lower(), "dropout": f"{p:g}/{q:g}"} for p, q in given)


def _inits(config: BenchmarkConfig) -> Iterator[Fields]:
    from gradflow.benchmarking.networks.classifiers import KERAS
    from gradflow.networks.initialization import INITIALIZERS, initializer

    names = {id(how): name for name, how in INITIALIZERS.items()}
    for text in several(config.init):
        yield {"init": KERAS if text.lower() == KERAS else names[id(initializer(text))]}


def _optimizers(config: BenchmarkConfig) -> Iterator[Fields]:
    from gradflow.training.optimizers import find

    for name in several(config.optimizer):
        find(name)
        yield {"optimizer": name.lower()}


def _nothing(_: BenchmarkConfig) -> list[Fields]:
    return [{}]


#: How the values of an axis are found where they are not simply the config's.
_VALUES: dict[str, Callable[[BenchmarkConfig], Iterable[Fields]]] = {
    "source": _nothing,  # said where stored runs are read
    "activation": _activations,
    "arch": _architectures,
    "dropout": _nothing,  # goes with the architecture
    "init": _inits,
    "optimizer": _optimizers,
    "clip": _clippings,
}
