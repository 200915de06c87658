"""What stands where no argument goes, and which option was probably meant."""

from __future__ import annotations

import re
from typing import Any

from gradflow.errors import GradflowError

_EXTRA = re.compile(r"extra argument.*\((.+)\)")
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?")


def hint(error: Any) -> str:
    """Return what helps after the parser's error."""
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "gradflow")
    message = str(error.format_message())
    extra = _EXTRA.search(message)
    if extra and context is not None:
        known = {name for parameter in context.command.params for name in parameter.opts}
        word = next(iter(extra[1].split()), "")  # a blank one has none
        if option := meant(word, known):
            return f"did you mean {option}?"
    if command == "gradflow" and message.startswith("No such option"):
        return "an option comes after its command, like gradflow diagnose --depth 10"
    return f"see {command} --help"


def meant(word: str, options: set[str]) -> str | None:
    """Return the option that `word` is a value of: an activation's name, or a number to look at."""
    if "--at" in options and _NUMBER.fullmatch(word):
        return f"--at {word}"
    if "--act" in options and _is_activation(word):
        return f"--act {word}"
    return None


def _is_activation(word: str) -> bool:
    from gradflow.activations.registry import activation

    try:
        activation(word)
    except GradflowError:
        return False
    return True
