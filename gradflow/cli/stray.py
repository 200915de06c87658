"""What the parser refuses, in this project's words; and which option was probably meant."""

from __future__ import annotations

import difflib
import re
from typing import Any

from gradflow.cli.examples import EXAMPLES
from gradflow.errors import GradflowError

_EXTRA = re.compile(r"extra argument.*\((.*)\)", re.DOTALL)
_MISSING = re.compile(r"Missing (argument|option) '(.+?)'")
_EMPTY = re.compile(r"Option '(.+?)' requires")
#: As click says it, which typer had as its parser before it said this itself.
_NO_NUMBER = re.compile(
    r"Invalid value for '(.+?)'.*: '(.*)' is not a valid (integer|float)", re.DOTALL
)
_KINDS = {"integer": "a whole number", "float": "a number"}
_COMMA = re.compile(r"([-+]?\d+),(\d+)")
_UNIT = re.compile(r"([-+]?\d+(?:\.\d+)?) ?([%kKmM])")
_UNITS = {"%": 0.01, "k": 1e3, "m": 1e6}
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?")


def message(error: Any) -> str:
    """Return what the parser says was wrong."""
    said = str(error.format_message())
    if hasattr(error, "possibilities"):
        return f"there is no option '{error.option_name}'"
    if extra := _EXTRA.search(said):
        return f"unexpected argument '{extra[1]}'"
    if missing := _MISSING.search(said):
        return f"{missing[2].rstrip('.…')} is missing"
    if empty := _EMPTY.search(said):
        return f"{empty[1]} was given no value"
    if wrong := _NO_NUMBER.match(said):
        return f"{wrong[1]} must be {_KINDS[wrong[3]]}, got '{wrong[2]}'"
    return said


def hint(error: Any) -> str:
    """Return what helps after the parser's error."""
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "gradflow")
    said = str(error.format_message())
    if hasattr(error, "possibilities"):
        if command == "gradflow":
            return "an option comes after its command, like gradflow diagnose --depth 10"
        if close := _near(error.option_name, error.possibilities or ()):
            return f"did you mean {', '.join(close)}? All are in {command} --help"
    if (extra := _EXTRA.search(said)) and context is not None:
        known = {name for parameter in context.command.params for name in parameter.opts}
        word = next(iter(extra[1].split()), "")  # a blank one has none
        if option := meant(word, known):
            return f"did you mean {option}?"
    if _MISSING.search(said) and (typed := next(iter(EXAMPLES.get(_name(context), ())), None)):
        return f"like gradflow {typed}"
    if number := plain_number(_refused(error)):
        return f"like {number}"
    return f"see {command} --help"


def _refused(error: Any) -> str:
    """Return the value that was no number, which the error's cause knows, or its words."""
    if wrong := _NO_NUMBER.match(str(error.format_message())):
        return wrong[2]
    errors = getattr(error.__cause__, "errors", None)
    return str(errors()[0].get("input", "")) if callable(errors) else ""


def plain_number(text: str) -> str | None:
    """Return how a number is typed that is written 0,01 or 98% or 10k; None for all others."""
    if comma := _COMMA.fullmatch(text):
        return f"{comma[1]}.{comma[2]}"
    if unit := _UNIT.fullmatch(text):
        return f"{float(unit[1]) * _UNITS[unit[2].lower()]:.12g}"
    return None


def _name(context: Any) -> str:
    return getattr(context, "info_name", None) or ""


def _near(name: str, known: Any) -> list[str]:
    """The options whose names are nearly this one, but for the dashes."""
    words = {option.lstrip("-"): option for option in known}
    return [words[word] for word in difflib.get_close_matches(name.lstrip("-"), words)]


def meant(word: str, options: set[str]) -> str | None:
    """Return the option that `word` is a value of: a number to look at, an activation, a file."""
    if "--at" in options and _NUMBER.fullmatch(word):
        return f"--at {word}"
    if "--act" in options and _is_activation(word):
        return f"--act {word}"
    if "--model" in options and word.endswith(".py"):
        return f"--model {word}:NAME, or gradflow watch {word}"
    return None


def _is_activation(word: str) -> bool:
    from gradflow.activations.registry import activation

    try:
        activation(word)
    except GradflowError:
        return False
    return True
