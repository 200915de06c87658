"""Typed values from stored ones: a file is believed only where it holds what it should.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any, NoReturn, TypeVar

from gradflow.results.nonfinite import NON_FINITE

T = TypeVar("T")

#: How deep plain values may be nested, and what a whole number may be at most.
DEPTH, _LARGEST = 32, 2**63
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    tuple: "a list",
    dict: "an object",
}


def parse(content: bytes | str) -> Any:
    """Return the plain value that a JSON text holds.

    Raises
    ------
    ValueError
        If it is no UTF-8, no JSON (a bare ``NaN`` is none), or nested too deeply.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        return json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def record(kind: type[T], given: Any) -> T:
    """Return the dataclass `kind` with the fields of an object, each of its declared type.

    Raises
    ------
    ValueError
        If one is missing, unknown, or of another type.
    """
    fields = _fields(kind)  # type: ignore[arg-type]
    given = _expect(dict, given)
    if unknown := [name for name in given if name not in fields]:
        raise ValueError(f"it has a field '{unknown[0]}', which is none of {kind.__name__}")
    if missing := [name for name, (_, needed) in fields.items() if needed and name not in given]:
        raise ValueError(f"it has no '{missing[0]}'")
    return kind(**{name: _named(name, fields[name][0], one) for name, one in given.items()})


def value(kind: Any, given: Any) -> Any:
    """Return what a plain value is as a `kind`: lists become tuples, objects dataclasses.

    Raises
    ------
    ValueError
        If it is none.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return plain(given)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, given)
    if origin is tuple:
        return _tuple(arguments, _expect(tuple, given))
    if origin is dict:
        return {_text(key): value(arguments[1], one) for key, one in _expect(dict, given).items()}
    if dataclasses.is_dataclass(kind):
        return given if isinstance(given, kind) else record(kind, given)  # type: ignore[arg-type]
    return _SCALARS[kind](given)


def plain(given: Any, depth: int = DEPTH) -> Any:
    """Return texts, numbers, lists and objects as they are, the contract's ``NaN`` as numbers.

    Raises
    ------
    ValueError
        If they are nested too deeply, or of another type.
    """
    if depth == 0:
        raise ValueError("it is nested too deeply")
    if isinstance(given, dict):
        return {_text(key): plain(one, depth - 1) for key, one in given.items()}
    if isinstance(given, list | tuple):
        return [plain(one, depth - 1) for one in given]
    if isinstance(given, str):
        return NON_FINITE.get(given, _text(given))
    return given if given is None or isinstance(given, bool) else _number(given)


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return type, and whether it is needed, of each field by name."""
    hints = typing.get_type_hints(kind)
    return {f.name: (hints[f.name], _is_needed(f)) for f in dataclasses.fields(kind) if f.init}


def _is_needed(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _named(name: str, kind: Any, given: Any) -> Any:
    try:
        return value(kind, given)
    except ValueError as error:
        raise ValueError(f"'{name}': {error}") from None


def _one_of(kinds: tuple[Any, ...], given: Any) -> Any:
    if given is None and type(None) in kinds:
        return None
    first, *others = [kind for kind in kinds if kind is not type(None)]
    if not others:
        return value(first, given)
    try:
        return value(first, given)
    except ValueError:
        return _one_of(tuple(others), given)


def _tuple(kinds: tuple[Any, ...], given: Any) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        return tuple(value(kinds[0], one) for one in given)
    if len(given) != len(kinds):
        raise ValueError(f"it has {len(given)} entries, not {len(kinds)}")
    return tuple(value(kind, one) for kind, one in zip(kinds, given, strict=True))


def _expect(kind: type[T], given: Any) -> T:
    wanted = (list, tuple) if kind is tuple else kind
    if not isinstance(given, wanted):
        _refuse(kind, given)
    return typing.cast(T, given)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        _refuse(str, given)
    try:
        given.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it is a text with half a character") from None
    return given


def _flag(given: Any) -> bool:
    return given if isinstance(given, bool) else _refuse(bool, given)


def _whole(given: Any, wanted: type[Any] = int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) >= _LARGEST:
        _refuse(wanted, given)
    return given


def _number(given: Any) -> float:
    """A number, or the contract's text for one that is not finite."""
    if isinstance(given, str) and given in NON_FINITE:
        return NON_FINITE[given]
    return given if isinstance(given, float) else _whole(given, float)


def _refuse(kind: Any, given: Any) -> NoReturn:
    shown = repr(given)[:40] if isinstance(given, str | float | bool) else type(given).__name__
    raise ValueError(f"it should be {_NAMES[kind]}, not {shown}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_SCALARS: dict[Any, typing.Callable[[Any], Any]] = {
    str: _text,
    bool: _flag,
    int: _whole,
    float: _number,
}
