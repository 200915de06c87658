"""The layers of a watched model, and on what it trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import MultiheadAttention
from torch.nn.utils.parametrize import ParametrizationList

from gradflow.measurement import walks
from gradflow.measurement.modules import matrices
from gradflow.measurement.preserving import plain_name
from gradflow.results.base import RunMeta
from gradflow.watching.recording import WatchedLayer


class Layers:
    """Every module that ever owned a trained matrix while it was watched, embeddings included.

    A loop may freeze, prune, replace and delete layers: what trained for a while keeps its row.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._known: set[tuple[str, ...]] = set()
        self._found: dict[str, WatchedLayer] = {}

    def look(self, named: Mapping[str, nn.Parameter]) -> None:
        """Take the layers as they are now, whose trained parameters are `named`."""
        if tuple(named) in self._known:
            return
        self._known.add(tuple(named))
        now = {}
        for name, kind, own in _owners(self.model, named):
            before = self._found[name].parameters if name in self._found else ()
            parameters = tuple(dict.fromkeys((*before, *own)))
            now[name] = WatchedLayer(plain_name(name), kind, parameters)
        self._found = _in_order(now, self._found)

    def watched(self, places: Mapping[str, int]) -> tuple[WatchedLayer, ...]:
        """Return them in the model's order, with their places in the table of what was sampled."""
        return tuple(replace(own, place=places.get(name)) for name, own in self._found.items())


def _in_order(
    now: dict[str, WatchedLayer], before: dict[str, WatchedLayer]
) -> dict[str, WatchedLayer]:
    """Return the layers that are there, and each that is gone behind the one it stood behind."""
    names, last = list(now), -1
    for name in before:
        last = names.index(name) if name in now else last + 1
        if name not in now:
            names.insert(last, name)
    return {name: now.get(name) or before[name] for name in names}


def _owners(
    model: nn.Module, named: Mapping[str, nn.Parameter]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, kind and the names of its trained matrices of every module that has some."""
    names = {id(p): n for n, p in named.items()}
    inner = {id(m.out_proj) for m in walks.parts(model) if isinstance(m, MultiheadAttention)}
    for name, module in walks.named_parts(model):
        if isinstance(module, ParametrizationList) or id(module) in inner:
            continue  # shown in their module's own row
        own = tuple(names[id(p)] for p in matrices(module) if id(p) in names)
        if own:
            yield name, type(module).__name__.removeprefix("FSDP"), own


def run_meta(named: Mapping[str, nn.Parameter], config: dict[str, Any]) -> RunMeta:
    """Return where a model trains, and how it is watched."""
    first = next(iter(named.values()), None)
    return RunMeta(
        torch=torch.__version__,
        device=None if first is None else str(first.device),
        dtype=None if first is None else str(first.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        config=config,
    )
