"""Lines of torch that change the model called `model`: what is printed, and what is run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gradflow.diagnosis.objective import Loss
from gradflow.measurement.preserving import random_states_kept

#: Layers that get a line each; of more, one loop over their names.
_EACH = 3
#: Lines that draw random numbers begin with this one, so that they give what was measured.
SEEDED = "torch.manual_seed(0)"


def place(model: nn.Module, name: str) -> str:
    """Return the expression for the module of that name: ``model.layers[3].fc``."""
    text, inside = "model", model
    for part in name.split(".") if name else ():
        if isinstance(inside, nn.Sequential | nn.ModuleList) and part.isdigit():
            text += f"[{part}]"
        elif part.isidentifier() and not isinstance(inside, nn.ModuleDict):
            text += f".{part}"
        else:
            text += f"[{part!r}]" if isinstance(inside, nn.ModuleDict) else f"._modules[{part!r}]"
        inside = inside.get_submodule(part)
    return text


def for_each(
    model: nn.Module, names: Sequence[str], line: str, looped: str | None = None
) -> list[str]:
    """Return `line` for each of the modules named, or a loop over them where they are many.

    Parameters
    ----------
    line
        With ``{m}`` for the module, as an expression.
    looped
        The same within a loop over ``name``; by default ``{m}`` is looked up by it.
    """
    if len(names) <= _EACH:
        return [line.format(m=place(model, name)) for name in names]
    body = line.format(m="model.get_submodule(name)") if looped is None else looped
    return [f"for name in {listing(names)}:", f"    {body}"]


def replaced(model: nn.Module, names: Sequence[str], new: str) -> list[str]:
    """Return the lines that put another module in the place of each; ``{m}`` is the old one."""
    looped = f"model.set_submodule(name, {new.format(m='model.get_submodule(name)')})"
    return for_each(model, names, f"{{m}} = {new}", looped)


def listing(names: Sequence[str]) -> str:
    """Return a list of names as it is written in Python."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def grouped(named: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names that belong to each text, in the order in which texts come first."""
    groups: dict[str, list[str]] = {}
    for name, text in named:
        groups.setdefault(text, []).append(name)
    return groups


def applied(model: nn.Module, lines: str) -> nn.Module:
    """Run `lines` on `model`, random states kept, and return what it is then."""
    names: dict[str, object] = {"torch": torch, "model": model}
    devices = {p.device for p in model.parameters() if p.is_cuda}
    with random_states_kept(devices):
        _run(lines, names)
    changed = names["model"]
    assert isinstance(changed, nn.Module)
    return changed


def exchanged(loss: Loss | None, lines: str) -> Loss:
    """Run `lines`, which exchange the function called `loss`, and return what it is then."""
    names: dict[str, object] = {"torch": torch, "loss": loss or torch.nn.functional.cross_entropy}
    _run(lines, names)
    changed = names["loss"]
    assert callable(changed)
    return changed


def _run(lines: str, names: dict[str, object]) -> None:
    exec(compile(lines, "<remedy>", "exec"), names)
