"""Options of gradflow's that came after the script's name, where the program knows none such."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

#: What a program says that reads its arguments; in a comment too: then nothing is said.
_READS = re.compile(
    r"\b(orig_)?argv\b|arg_?parse|parse_args|arguments?\b|docopt|getopt|optparse|\bflags\b"
    r"|\b(absl|cli|click|cyclopts|draccus|fire|gin|hydra|plac|pyrallis|sacred|simple_parsing"
    r"|typer|tyro)\b",
    re.IGNORECASE,
)
_BAD_USAGE = 2


def note(context: Any, script: str, arguments: Sequence[str], code: int | None) -> str | None:
    """Return what to say of gradflow's own options that the program was given; None for nothing.

    It is said where the program refused its arguments, or reads none. A program may have a
    ``--steps`` of its own.

    Parameters
    ----------
    context
        The parser's, of the command.
    script
        The program's file.
    arguments
        What came after it.
    code
        The program's exit code.
    """
    own = _own(context.command.params, arguments)
    if not own or not (code == _BAD_USAGE or (code == 0 and reads_none(Path(script)))):
        return None
    rest = [word for word in arguments if word not in own]
    typed = shlex.join(["gradflow", "watch", *own, script, *rest])
    return f"note: '{own[0]}' came after {script} and went to the program: did you mean {typed}?"


def _own(parameters: Iterable[Any], arguments: Sequence[str]) -> list[str]:
    """Return the words among a program's arguments that are options of gradflow's, with values."""
    flags = {name: p.is_flag for p in parameters if hasattr(p, "is_flag") for name in _names(p)}
    found: list[str] = []
    for index, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if name in flags:
            takes = not flags[name] and not equals
            found += arguments[index : index + 1 + takes]
    return found


def _names(parameter: Any) -> list[str]:
    names = (*parameter.opts, *parameter.secondary_opts)
    return [name for name in names if name not in ("-h", "--help", "-m")]


def reads_none(script: Path) -> bool:
    """Return whether no file of a program that ran names anything that reads its arguments."""
    try:
        folder = script.resolve().parent
        files = {script.resolve()} | set(_beneath(folder))
        return not any(_READS.search(f.read_text("utf-8", "replace")) for f in files)
    except OSError:
        return False


def _beneath(folder: Path) -> Iterable[Path]:
    """Yield the files of loaded modules that lie in a folder, installed ones left out."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and "site-packages" not in file:
            path = Path(file)
            if folder in path.parents and path.is_file():
                yield path
