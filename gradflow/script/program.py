"""A program as ``python SCRIPT ARGS…`` or ``python -m MODULE ARGS…`` runs it."""

from __future__ import annotations

import builtins
import contextlib
import difflib
import functools
import importlib.util
import io
import re
import shlex
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType

from gradflow.errors import GradflowError
from gradflow.script.notebooks import Notebook

_PYTHON = re.compile(r"python[\d.]*(\.exe)?")
#: What starts a program, and how one that it starts is watched.
_LAUNCHERS = {
    "torchrun": "like torchrun --nproc-per-node 2 -m gradflow watch train.py",
    "accelerate": "like accelerate launch -m gradflow watch train.py",
}


@dataclass(frozen=True)
class Program:
    """What is run.

    Attributes
    ----------
    target
        A file, or a module's name.
    argv
        Its arguments.
    is_module
        Whether `target` is a module's name.
    """

    target: str
    argv: tuple[str, ...] = ()
    is_module: bool = False

    def named(self) -> dict[str, str]:
        """Return what a result keeps of it: its name, and the file that it is."""
        kept = {"script": Path(self.target).name}
        return kept if self.is_module else {**kept, "path": Path(self.target).as_posix()}

    def refuse_missing(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises
        ------
        GradflowError
            If there is no such file or module.
        """
        if self.is_module:
            _refuse_missing_module(self.target)
            return
        path = Path(self.target)
        if path.is_dir():
            raise GradflowError(f"'{self.target}' is a folder", "name a file in it")
        if not path.is_file():
            raise GradflowError(f"there is no file '{self.target}'", self._meant(path))
        if path.suffix == ".ipynb":
            hint = f"jupyter nbconvert --to script {shlex.quote(self.target)} makes a program of it"
            raise GradflowError(f"'{self.target}' is a notebook, no program", hint)

    def _meant(self, path: Path) -> str | None:
        """Say what else may be meant by a file that is not there."""
        if launched := self._launched():
            return launched
        if _is_module(self.target):
            return f"gradflow watch -m {self.target} runs a module"
        beside = path.parent.glob("*.py") if path.parent.is_dir() else ()
        files = {file.stem: str(file) for file in sorted(beside)}
        close = difflib.get_close_matches(path.stem, files, n=3)
        return f"did you mean {', '.join(files[stem] for stem in close)}?" if close else None

    def _launched(self) -> str | None:
        """Say how a program is watched that something else starts, where that was named."""
        if self.target in _LAUNCHERS:
            return _LAUNCHERS[self.target]
        if _PYTHON.fullmatch(Path(self.target).name):
            return f"leave '{self.target}' out: " + shlex.join(("gradflow", "watch", *self.argv))
        return None

    def run(self) -> None:
        """Run it in this process as the module ``__main__``; what it raises, this raises."""
        with as_main(self) as main:
            if self.is_module:
                spec, code = _module_code(self.target)
                main.__spec__, main.__file__ = spec, spec.origin
                main.__package__, main.__loader__ = spec.parent, spec.loader
                sys.argv[0] = spec.origin or self.target
            else:
                code = _file_code(self.target)
                if "get_ipython" in code.co_names and "get_ipython" not in vars(builtins):
                    main.__dict__["get_ipython"] = functools.partial(Notebook, main.__dict__)
            exec(code, main.__dict__)


@contextlib.contextmanager
def as_main(program: Program) -> Iterator[types.ModuleType]:
    """Give a fresh ``__main__`` with the program's arguments and path; all put back afterwards."""
    before = sys.argv, list(sys.path), sys.modules.get("__main__")
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __annotations__={})
    if not program.is_module:
        # Without a spec, as of a script: so that spawned processes find it by its file.
        main.__dict__.update(__file__=_absolute(program.target), __spec__=None)
        main.__dict__.update(__package__=None, __cached__=None)
    folder = Path.cwd() if program.is_module else Path(program.target).resolve().parent
    sys.argv, sys.path[0:1] = [program.target, *program.argv], [str(folder)]
    sys.modules["__main__"] = main
    try:
        yield main
    finally:
        sys.argv, sys.path[:] = before[0], before[1]
        if before[2] is not None:
            sys.modules["__main__"] = before[2]


def _file_code(target: str) -> CodeType:
    """Compile a file, whatever its encoding line says."""
    path = _absolute(target)
    with io.open_code(path) as file:
        source = file.read()
    return compile(source, path, "exec", dont_inherit=True)


def _absolute(target: str) -> str:
    return str(Path.cwd() / target)  # links are not followed, as Python does not


def _module_code(name: str) -> tuple[ModuleSpec, CodeType]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    code = getattr(getattr(spec, "loader", None), "get_code", lambda _: None)(
        spec.name if spec else name
    )
    if spec is None or code is None:
        raise ImportError(f"No code to run in the module {name}")
    return spec, code


def _is_module(name: str) -> bool:
    """Return whether there is a package of the name's first part; nothing is imported."""
    parts = name.split(".")
    if len(parts) == 1 or not all(part.isidentifier() for part in parts):
        return False
    return Path(parts[0]).is_dir() or importlib.util.find_spec(parts[0]) is not None


def _refuse_missing_module(name: str) -> None:
    """Look for the first part alone: to look further would import it."""
    first = name.partition(".")[0]
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = name.isidentifier() or all(part.isidentifier() for part in name.split("."))
        spec = importlib.util.find_spec(first) if found else None
        if spec is None:
            raise GradflowError(f"there is no module '{name}'", "is it in this folder?")
        if name != first and spec.submodule_search_locations is None:
            hint = f"without -m for the file; or -m {first}"
            raise GradflowError(f"there is no module '{name}': '{first}' is no package", hint)
    finally:
        del sys.path[0]


def argv_of(values: Sequence[object]) -> tuple[str, ...]:
    """Return a program's arguments as the words that it sees."""
    return tuple(str(value) for value in values)
