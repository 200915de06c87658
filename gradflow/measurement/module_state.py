"""Everything that a module holds, kept and put back: whatever its forward pass writes is undone."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradflow.measurement import walks

Undo: TypeAlias = "Callable[[], None]"

#: Entries of a module's parameters up to which all of them are copied.
_ALL_COPIED = 2**24
#: In a larger module: entries of a parameter up to which it is copied all the same.
_SMALL = 2**16
#: How deep containers in attributes are followed.
_DEPTH = 4


#: What nothing can be written into.
_UNCHANGING = frozenset((bool, int, float, complex, str, bytes, type(None), torch.dtype))
_CONTAINERS = frozenset((dict, OrderedDict, list, set))


class ModuleState:
    """What the parts of a module hold, as it is now.

    That is parameters, buffers, submodules, hooks, training flags and every other attribute: which
    objects they are, and what is in them where that is a tensor, a list, a dictionary, a set, a
    queue, or an object of a user's own class. In a module with more than 16 million parameters the
    large ones are not copied: what is set anew is put back, what is written into them is not.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = walks.parts(model)
        parameters = walks.parameters(model)
        total = sum(p.numel() for p in parameters if not is_lazy(p))
        self._limit = _ALL_COPIED if total <= _ALL_COPIED else _SMALL
        self._renormed = {id(m.weight) for m in modules if _writes_weight(m)}
        self._seen: set[int] = set()
        self._empty: list[Any] = []
        self._undo: list[Undo] = []
        for module in modules:
            self._keep(module.__dict__, _DEPTH + 1)
            self._keep_slots(module)
            if isinstance(module, torch.jit.ScriptModule):  # which holds its tensors elsewhere
                for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                    self._keep(tensor, 1)

    def restore(self) -> None:
        """Put all of it back."""
        with torch.no_grad():
            for undo in self._undo:
                undo()
        for container in self._empty:
            if container:
                container.clear()

    def _keep_slots(self, module: nn.Module) -> None:
        """Remember what a module holds outside its dictionary, as its class may declare."""
        for slot in _slots(type(module)):
            with contextlib.suppress(AttributeError):  # not set yet
                value = slot.__get__(module)
                self._undo.append(functools.partial(slot.__set__, module, value))
                self._items([value], _DEPTH)

    def _keep(self, value: Any, depth: int) -> None:
        """Remember what `value` holds; a module's own attributes are a dictionary like any."""
        if depth == 0 or id(value) in self._seen or isinstance(value, nn.Module):
            return
        if isinstance(value, Tensor):
            self._seen.add(id(value))
            self._undo.append(self._tensor(value))
        elif isinstance(value, dict):
            self._container(value, value.values(), depth, _refilled_dict)
        elif isinstance(value, list | set | deque):
            self._container(value, value, depth, _refilled)
        elif isinstance(value, tuple):
            self._items(value, depth)
        elif _is_somebodys(value):
            self._keep(vars(value), depth - 1)

    def _container(
        self, value: Any, items: Iterable[Any], depth: int, refilled: Callable[[Any], Undo]
    ) -> None:
        self._seen.add(id(value))
        self._undo.append(refilled(value))
        self._items(items, depth)

    def _items(self, items: Iterable[Any], depth: int) -> None:
        """Remember what is in each; of what nothing can be written into there is nothing to."""
        for item in list(items):
            kind = type(item)
            if kind in _UNCHANGING:
                continue
            if kind in _CONTAINERS and not item:  # as most of a module's own are
                if depth > 1:
                    self._empty.append(item)
            elif depth > 1 and not isinstance(item, nn.Module):
                self._keep(item, depth - 1)

    def _tensor(self, tensor: Tensor) -> Undo:
        if is_lazy(tensor) or tensor.is_meta:
            return lambda: None
        data, requires_grad = tensor.data, tensor.requires_grad
        small = tensor.numel() <= self._limit or id(tensor) in self._renormed
        whole = data.layout == torch.strided and 0 not in data.stride()  # an expanded one is a view
        copied = (small or not isinstance(tensor, nn.Parameter)) and whole
        values = data.clone() if copied else None

        def undo() -> None:
            if tensor.data.data_ptr() != data.data_ptr() or tensor.shape != data.shape:
                tensor.data = data
            if values is not None and not _equal(data, values):
                data.copy_(values)  # through .data: a pending graph of the user's stays valid
            if tensor.is_leaf and tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)

        return undo


def _slots(kind: type) -> list[MemberDescriptorType]:
    """Return what a class keeps room for beside an object's dictionary."""
    declared = (vars(part).values() for part in kind.__mro__ if "__slots__" in vars(part))
    return [m for own in declared for m in own if isinstance(m, MemberDescriptorType)]


def _is_somebodys(value: Any) -> bool:
    """Return whether `value` is an object with attributes, of a user's own class."""
    if isinstance(value, type | ModuleType | FunctionType | MethodType):
        return False
    home = type(value).__module__.partition(".")[0]
    own = type(getattr(value, "__dict__", None)) is dict
    return own and home not in ("torch", "gradflow", "builtins")


def _writes_weight(module: nn.Module) -> bool:
    """Return whether a layer of torch's own scales its weight in the forward pass."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether all bits are equal, of what is no number too."""
    if torch.equal(one, other):
        return True
    if not (one.is_floating_point() or one.is_complex()):
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _refilled_dict(value: dict[Any, Any]) -> Undo:
    before = dict(value)

    def undo() -> None:
        if not _same(value.values(), before.values()) or list(value) != list(before):
            value.clear()
            value.update(before)

    return undo


def _refilled(value: Any) -> Undo:
    before = list(value)

    def undo() -> None:
        if not _same(value, before):
            value.clear()
            (value.update if isinstance(value, set) else value.extend)(before)

    return undo


def _same(one: Collection[Any], other: Collection[Any]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))
