"""The layers of a watched model, and on what it trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import MultiheadAttention
from torch.nn.utils.parametrize import ParametrizationList

from gradflow.measurement.modules import matrices
from gradflow.measurement.preserving import plain_name
from gradflow.results.base import RunMeta
from gradflow.watching.recording import WatchedLayer


def watched_layers(
    model: nn.Module, named: Mapping[str, nn.Parameter], places: Mapping[str, int]
) -> Iterator[WatchedLayer]:
    """Yield every module that owns a trained matrix, embeddings included, in the model's order.

    Parameters
    ----------
    named
        The trained parameters.
    places
        Of layers in the table of what was sampled, by name.
    """
    names = {id(p): n for n, p in named.items()}
    inner = {id(m.out_proj) for m in model.modules() if isinstance(m, MultiheadAttention)}
    for name, module in model.named_modules():
        if isinstance(module, ParametrizationList) or id(module) in inner:
            continue  # shown in their module's own row
        own = tuple(names[id(p)] for p in matrices(module) if id(p) in names)
        if own:
            kind = type(module).__name__.removeprefix("FSDP")
            yield WatchedLayer(plain_name(name), kind, own, places.get(name))


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
