"""Remedies that put modules into the user's own: normalisation, shortcuts, activations."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from gradflow.diagnosis.remedies.anatomy import Anatomy, Layer
from gradflow.diagnosis.remedies.code import for_each, grouped, listing, replaced

Norm = Callable[[Layer], str | None]
#: A shortcut around a module, as a hook: what came in is added to what goes out.
_ADDED = "register_forward_hook(lambda module, args, output: output + args[0])"


def normalised(which: Norm) -> Callable[[Anatomy], str | None]:
    """Return the remedy that puts a normalisation behind each layer that an activation follows."""

    def write(a: Anatomy) -> str | None:
        named = [(layer.name, which(layer)) for layer in _bare(a)]
        groups = grouped([(name, norm) for name, norm in named if norm is not None])
        lines: list[str] = []
        for norm, names in groups.items():
            lines += replaced(a.model, names, f"torch.nn.Sequential({{m}}, {norm})")
        return "\n".join(lines) or None

    return write


def _bare(a: Anatomy) -> list[Layer]:
    """Dense and convolutional layers before an activation, none of them normalised."""
    return [
        layer
        for layer in a.hidden
        if layer.plain and layer.name and layer.follows is not None and not layer.normed
    ]


def _units(layer: Layer) -> int:
    module = layer.module
    return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)  # type: ignore[arg-type]


def _dimension(layer: Layer) -> int | None:
    """1 to 3 of a convolution, 0 of a dense layer."""
    if isinstance(layer.module, nn.Linear):
        return 0
    return None if layer.leaving is None else len(layer.leaving) - 2


def layer_norm(layer: Layer) -> str | None:
    """Over the features of a dense layer; over channels and positions of a convolution."""
    if isinstance(layer.module, nn.Linear):
        return f"torch.nn.LayerNorm({_units(layer)})" if _units(layer) > 1 else None
    return f"torch.nn.GroupNorm(1, {_units(layer)})"


def rms_norm(layer: Layer) -> str | None:
    """Over the features of a dense layer, not centred."""
    dense = isinstance(layer.module, nn.Linear) and _units(layer) > 1
    return f"torch.nn.RMSNorm({_units(layer)})" if dense else None


def batch_norm(layer: Layer) -> str | None:
    """Over the examples, and the positions of a convolution."""
    dimension, shape = _dimension(layer), layer.leaving
    if dimension is None or shape is None or shape[0] < 2:
        return None
    if dimension == 0:
        return f"torch.nn.BatchNorm1d({_units(layer)})" if len(shape) == 2 else None
    return f"torch.nn.BatchNorm{dimension}d({_units(layer)})" if dimension <= 3 else None


def other_activation(new: str, function: str) -> Callable[[Anatomy], str | None]:
    """Return the remedy that puts another activation in the place of those before the output.

    Parameters
    ----------
    new
        The module's expression.
    function
        The same of ``args[0]``, for activations that `forward` calls as functions.
    """

    def write(a: Anatomy) -> str | None:
        kind = new.partition("(")[0].rpartition(".")[2]
        names = [n for n in a.activations if type(a.model.get_submodule(n)).__name__ != kind]
        lines = replaced(a.model, names, new)
        called = [name for name in a.functions if name != function_name(function)]
        return "\n".join([*lines, *(_instead(called, function) if called else [])]) or None

    return write


def function_name(call: str) -> str:
    """Return the name of the function that is called."""
    return call.partition("(")[0].rpartition(".")[2]


def _instead(names: list[str], call: str) -> list[str]:
    """Lines by which `forward` calls another function, without a change of its code."""
    return [
        f"# or write {function_name(call)} for {' and '.join(names)} in forward()",
        "class Instead(torch.overrides.TorchFunctionMode):",
        "    def __torch_function__(self, func, types, args=(), kwargs=None):",
        f"        if getattr(func, '__name__', '') in {tuple(names)!r}:",
        f"            return {call}",
        "        return func(*args, **(kwargs or {}))",
        "",
        "instead = Instead()",
        "model.register_forward_pre_hook(lambda *_: instead.__enter__() and None)",
        "model.register_forward_hook(",
        "    lambda *_: instead.__exit__(None, None, None), always_call=True",
        ")",
    ]


def residual(a: Anatomy) -> str | None:
    """Each block, or layer with its activation, whose shape stays, adds what came in."""
    whole, runs, alone = _shortcuts(a)
    lines = for_each(a.model, [*whole, *alone], f"{{m}}.{_ADDED}")
    if runs:
        inside = ", ".join(listing(names) for names in runs)
        lines += [
            f"for names in [{inside}]:",
            "    block = torch.nn.Sequential(*[model.get_submodule(name) for name in names])",
            "    for name in names[1:]:",
            "        model.set_submodule(name, torch.nn.Identity())",
            "    model.set_submodule(names[0], block)",
            f"    block.{_ADDED}",
        ]
    return "\n".join(lines) or None


def _shortcuts(a: Anatomy) -> tuple[list[str], list[list[str]], list[str]]:
    """Blocks to go around; runs of modules in a Sequential that make one; layers alone."""
    whole: list[str] = []
    runs: list[list[str]] = []
    alone: list[str] = []
    for layer in a.hidden:
        if not layer.plain or not layer.name or layer.calls > 1:
            continue
        parent, _, key = layer.name.rpartition(".")
        entering, leaving = a.shapes.get(parent, (None, None))
        if parent and entering is not None and entering == leaving:
            whole.append(parent)
        elif layer.square:
            run = _run(a, layer, parent, key)
            if run is None:
                alone.append(layer.name)
            else:
                runs.append(run)
    return list(dict.fromkeys(whole)), runs, alone


def _run(a: Anatomy, layer: Layer, parent: str, key: str) -> list[str] | None:
    """Names from a layer to its activation, where both stand in one Sequential."""
    home, act = a.model.get_submodule(parent), layer.activation
    if not isinstance(home, nn.Sequential) or act is None or act.rpartition(".")[0] != parent:
        return None
    keys = list(home._modules)
    first, last = keys.index(key), keys.index(act.rpartition(".")[2])
    if last < first:
        return None
    dotted = f"{parent}." if parent else ""
    return [f"{dotted}{k}" for k in keys[first : last + 1]]
