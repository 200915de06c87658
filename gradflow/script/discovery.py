"""Which models an optimizer trains: found among all modules that are alive."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from gradflow.measurement import walks

#: Attributes in which a wrapper keeps the module that it hands its calls on to.
WRAPPED = ("module", "_orig_mod", "_fsdp_wrapped_module")


class ModuleTree:
    """All modules that are alive, and which holds which."""

    def __init__(self) -> None:
        # By their type: to ask an instance may run a proxy's own code.
        self.modules = [o for o in gc.get_objects() if issubclass(type(o), nn.Module)]
        self._parents: dict[int, list[nn.Module]] = {}
        for module in self.modules:
            for child in children(module):
                self._parents.setdefault(id(child), []).append(module)

    def above(self, module: nn.Module) -> list[nn.Module]:
        """Return the modules that hold `module`, at whatever depth, the nearest first."""
        found: dict[int, nn.Module] = {}
        queue = [module]
        while queue:
            for parent in self._parents.get(id(queue.pop(0)), ()):
                if id(parent) not in found:
                    found[id(parent)] = parent
                    queue.append(parent)
        return list(found.values())

    def models_of(self, parameters: Iterable[Tensor]) -> list[nn.Module]:
        """Return the models that `parameters` belong to.

        A model is the smallest module that holds as many of them as any, and of several that hold
        the same the outermost.
        """
        wanted = {id(p) for p in parameters}
        counts: dict[int, tuple[int, int]] = {}
        found: dict[int, nn.Module] = {}
        for module in self.modules:
            if any(id(p) in wanted for p in own_parameters(module)):
                line = [module, *self.above(module)]
                model = _holding_most(line, wanted, counts)
                found.setdefault(id(model), model)
        return _outermost(list(found.values()))

    def loose(self, parameters: Iterable[Tensor]) -> list[Tensor]:
        """Return those of `parameters` that no module holds."""
        held = {id(p) for module in self.modules for p in own_parameters(module)}
        return [p for p in parameters if id(p) not in held]


class LooseParameters(nn.Module):
    """Parameters that a program keeps itself, as a model that is never called."""

    def __init__(self, named: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in named.items():
            holder = self._modules[name] = nn.Module()
            holder._parameters["weight"] = tensor  # type: ignore[assignment]


def _holding_most(
    line: Sequence[nn.Module], wanted: set[int], counts: dict[int, tuple[int, int]]
) -> nn.Module:
    """Return, of a module and those above it, the model that it is a part of."""
    for module in line:
        if id(module) not in counts:
            ids = {id(p) for p in walks.parameters(module)}
            counts[id(module)] = -len(ids & wanted), len(ids)
    best = min(counts[id(m)] for m in line)
    same = [m for m in line if counts[id(m)] == best]
    return next((m for m in reversed(same) if is_callable(m) and not is_wrapper(m)), same[0])


def _outermost(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Drop modules that are inside others."""
    inside = {id(part) for m in modules for part in walks.parts(m) if part is not m}
    return [m for m in modules if id(m) not in inside]


def is_callable(module: nn.Module) -> bool:
    """Return whether a module has a forward pass: lists and dictionaries of modules have none."""
    # Not as an attribute: a script's class has one that raises.
    return next(k for k in type(module).__mro__ if "forward" in vars(k)) is not nn.Module


def is_wrapper(module: nn.Module) -> bool:
    """Return whether a module only hands its calls on to the one inside."""
    if any(name in module._modules for name in WRAPPED[1:]):
        return True
    names = {kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("torch.")}
    return not names.isdisjoint(("DataParallel", "DistributedDataParallel")) or _holds_one(module)


def _holds_one(module: nn.Module) -> bool:
    """Return whether it is a Lightning module around one model."""
    known = ("pytorch_lightning.core.module", "lightning.pytorch.core.module")
    kinds = tuple(sys.modules[name].LightningModule for name in known if name in sys.modules)
    if not isinstance(module, kinds) or any(True for _ in own_parameters(module)):
        return False
    return sum(bool(walks.parameters(child)) for child in children(module)) == 1


def children(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that a module holds itself, of one that is only half made as well."""
    found = vars(module).get("_modules") or {}
    return (child for child in found.values() if isinstance(child, nn.Module))


def own_parameters(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters that a module holds itself."""
    found = vars(module).get("_parameters") or {}
    return (p for p in found.values() if p is not None)
