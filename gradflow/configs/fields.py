"""Configs: what an experiment is made of. Standard library only.

A field's metadata is its command-line option, so a new field is a new option.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gradflow.configs.ranges import ends, is_plain, like, span
from gradflow.errors import GradflowError

Check = Callable[[str, Any], None]

#: What a whole number and the size of any other may be at most, unless an option says otherwise.
#: Beyond them no machine could do it, or single precision could not hold it.
MOST, LARGEST = 10**9, 1e30
#: Generators of random numbers take seeds of 64 bits; room is left for those that follow.
LAST_SEED = 2**62


@dataclass(frozen=True)
class OptionSpec:
    """How a config field appears on the command line; see `option`."""

    help: str | Callable[[], str]
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    complete: str | None = None
    panel: str | None = None
    check: Check | None = None
    several: type | None = None
    lists: str | None = None


def option(
    default: Any,
    help: str | Callable[[], str],
    *flags: str,
    metavar: str | None = None,
    complete: str | None = None,
    panel: str | None = None,
    check: Check | None = None,
    several: type | None = None,
    lists: str | None = None,
) -> Any:
    """Return a dataclass field that is also a command-line option.

    Parameters
    ----------
    default
        Value where the user says nothing.
    help
        One line for ``--help``, or a function that returns it; see `lists`.
    flags
        Option names; the field's name with hyphens by default.
    complete
        Address of the registry of its values, for shell completion: ``module:attribute``, imported
        when completion is asked for.
    check
        Called with the option's name and value; raises `GradflowError`.
    several
        Type of one value of a field that takes any number: the option can be repeated, and its
        values can be written with commas between.
    lists
        Address of the registry that ``{names}`` and ``{described}`` in `help` stand for, as
        `gradflow.configs.registries.filled` writes them; by default that of `complete`. Help is
        shown at once, so that it has to be a registry of the standard library.
    """
    spec = OptionSpec(help, flags, metavar, complete, panel, check, several, lists or complete)
    return field(default=default, metadata={"option": spec})


def validate(config: Any) -> None:
    """Run the check of every field of `config` whose value is not None.

    Raises
    ------
    GradflowError
        On the first value that its check refuses.
    """
    for f in dataclasses.fields(config):
        spec = f.metadata.get("option")
        value = getattr(config, f.name)
        if spec is not None and spec.check is not None and value is not None:
            spec.check(f"--{f.name.replace('_', '-')}", value)


def several(value: Any) -> tuple[Any, ...]:
    """Return the values of a field that takes one or several."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def each(check: Check) -> Check:
    """Return a check for every value of a field that takes one or several."""

    def check_each(name: str, value: Any) -> None:
        for one in several(value):
            check(name, one)

    return check_each


def at_least(minimum: int, most: int = MOST) -> Check:
    """Return a check for whole numbers from `minimum` to `most`."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise GradflowError(
                f"{name} must be a whole number of at least {minimum}, got {value}",
                f"try {name} {max(minimum, 1)}",
            )
        if value > most:
            raise GradflowError(f"{name} must be at most {most:,}, got {_short(value)}")

    return check


def positive(name: str, value: Any) -> None:
    """Refuse anything but a finite number above 0."""
    if not _is_number(value) or not value > 0:
        raise GradflowError(f"{name} must be a number above 0, got {value}")
    finite(name, value)


def non_negative(name: str, value: Any) -> None:
    """Refuse anything but a finite number of at least 0."""
    if not _is_number(value) or not value >= 0:
        raise GradflowError(f"{name} must be a number of at least 0, got {value}")
    finite(name, value)


def finite(name: str, value: Any) -> None:
    """Refuse NaN, infinities, and what single precision would make one of."""
    if not _is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise GradflowError(f"{name} must be a finite number, got {value}")
    if abs(value) > LARGEST:
        raise GradflowError(f"{name} must be at most {LARGEST:g} in size, got {_short(value)}")


def share(name: str, value: Any) -> None:
    """Refuse anything but a number above 0 and at most 1."""
    if not _is_number(value) or not 0 < value <= 1:
        raise GradflowError(
            f"{name} must be above 0 and at most 1, got {value}", f"99 % is {name} 0.99"
        )


def check_variance(name: str, value: float) -> None:
    """Refuse what is no variance, and what is too far from 1 for double precision.

    Raises
    ------
    GradflowError
        If `value` is negative, not finite, or neither 0 nor within 1e±90.
    """
    if not _is_number(value) or not math.isfinite(value) or value < 0:
        raise GradflowError(f"{name} must be a number of at least 0, got {value}")
    if value and not 1e-90 <= value <= 1e90:
        raise GradflowError(f"{name} must be 0 or from 1e-90 to 1e90, got {value:g}")


def _short(value: float) -> str:
    """A number of any size in a few digits; a whole one may be beyond what a float holds."""
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}… ({len(text)} digits)"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def float_list(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers of a comma list such as ``"100,100,0.5"``.

    Raises
    ------
    GradflowError
        If an item is not a finite number.
    """
    numbers: tuple[float, ...] = value_list(name, [text] if text.strip() else [], float)
    for number in numbers:
        finite(name, number)
    return numbers


def value_list(name: str, texts: Iterable[str], kind: type) -> tuple[Any, ...]:
    """Return the values of comma lists, each of the given type; numbers as ranges as well.

    Raises
    ------
    GradflowError
        If an item is not of that type.
    """
    texts = list(texts)
    items = [item.strip() for text in texts for item in text.split(",") if item.strip()]
    if texts and not items:
        raise no_value(name)
    try:
        return tuple(value for item in items for value in _values(name, item, kind))
    except (ValueError, OverflowError):
        word, usual = ("whole numbers", "64,128") if kind is int else ("numbers", "0.2,0.1")
        raise GradflowError(
            f"{name} must be {word} with commas between, got '{','.join(items)[:80]}'",
            like(name, ends(items[0]), usual),
        ) from None


def _values(name: str, item: str, kind: type) -> Iterable[Any]:
    """One item's value, or those of a range (``0.5:3:0.25``)."""
    if kind is str:
        return (item,)
    if ":" in item:
        return (_whole(number) if kind is int else number for number in span(name, item))
    return (_number(item, kind),)


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError(number)
    return int(number)


def no_value(name: str) -> GradflowError:
    """Return the error for an option that was given nothing."""
    return GradflowError(f"{name} was given no value", "leave it out, or name one")


def _number(text: str, kind: type) -> Any:
    if not is_plain(text):
        raise ValueError(text)
    return kind(text)


def required(config: Any, kind: type, function: str) -> None:
    """Raise GradflowError unless a function was given the config that it takes."""
    if not isinstance(config, kind):
        raise GradflowError(
            f"{function}() needs a {kind.__name__}, got {config!r}: gradflow.{kind.__name__}(…) "
            "makes one"
        )
