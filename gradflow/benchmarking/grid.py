"""The settings that a config asks for: every combination of the values of its axes."""

from __future__ import annotations

import dataclasses
import itertools
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    values = [list(_values(config, name)) for name in axes()]
    combined = (dict(ChainMap(*parts)) for parts in itertools.product(*values))
    return tuple(dict.fromkeys(Setting(**fields) for fields in combined))


def axes() -> list[str]:
    """Return the fields of a setting in the order in which they vary, the last one fastest."""
    names = [f.name for f in dataclasses.fields(Setting)]
    # Dropout goes with the architecture, activations side by side within each of the others.
    places = {name: place for place, name in enumerate(names)}
    places |= {"dropout": places["arch"], "activation": len(names)}
    return sorted(names, key=places.__getitem__)


def in_order(found: Iterable[Setting], asked: Mapping[str, Any]) -> list[Setting]:
    """Return settings in the order of `settings`, without torch.

    Parameters
    ----------
    asked
        The fields of the config that they are of; what is not found there keeps its order.
    """
    words = {name: [str(v).lower() for v in several(asked.get(name, ()))] for name in axes()}
    acts = several(asked.get("act", ()))
    words["activation"] = [registry.activation(str(name)).name for name in acts]
    clips = several(asked.get("clip_value", ())), several(asked.get("clip_norm", ()))
    words["clip"] = list(_clip_words(*clips))

    def place(setting: Setting) -> list[int]:
        values = ((words[name], str(getattr(setting, name))) for name in axes())
        return [known.index(v) if v in known else len(known) for known, v in values]

    return sorted(found, key=place)


def _values(config: BenchmarkConfig, name: str) -> Iterable[Fields]:
    if name in _VALUES:
        return _VALUES[name](config)
    return ({name: value} for value in several(getattr(config, name)))


def activations(config: BenchmarkConfig) -> dict[str, Activation]:
    """Return the activations by canonical name, each once, with `alpha` where it belongs."""
    return {phi.name: phi for phi in registry.activations(several(config.act), config.alpha)}


def clippings(config: BenchmarkConfig) -> tuple[str, ...]:
    """Return the ways of clipping in words: ``value 0.5``, ``norm 1``, ``none``."""
    return _clip_words(several(config.clip_value), several(config.clip_norm))


def _clip_words(values: Sequence[float], norms: Sequence[float]) -> tuple[str, ...]:
    if not values and not norms:
        values = (CLIP_VALUE,)
    words = [f"value {value:g}" if value else "none" for value in values]
    words += [f"norm {norm:g}" if norm else "none" for norm in norms]
    return tuple(dict.fromkeys(words))


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
