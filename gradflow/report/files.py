"""Output files: checked before the work, written whole or not at all."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gradflow.errors import GradflowError
from gradflow.report.writers import SOFTWARE, WRITERS
from gradflow.temporaries import beside, permissions


def check_writable(path: str | Path) -> Path:
    """Return `path` if a file of its kind can be written there.

    Raises
    ------
    GradflowError
        For an unknown suffix, a missing folder, and one that cannot be written to.
    """
    if str(path) == "-":
        raise GradflowError(
            "-o - is not a file: a figure cannot go to standard output",
            "--json prints the document there; or name a file such as -o out.png",
        )
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise GradflowError(
            f"cannot tell a format from '{path}'", f"end it with one of {' '.join(WRITERS)}"
        )
    return check_folder(path)


def check_folder(path: Path) -> Path:
    """Return `path` if a file can be written there, whatever its kind.

    Raises
    ------
    GradflowError
        For a folder, a missing one, and one that cannot be written to.
    """
    _refuse_no_file(path)
    folder = path.parent
    if not folder.is_dir():
        raise GradflowError(f"there is no folder '{folder}' to write '{path.name}' to", "make it")
    try:  # asking the system beats os.access, which root and read-only mounts fool
        with tempfile.TemporaryFile(dir=folder):
            pass
        if path.exists():
            with path.open("ab"):
                pass
    except OSError as error:
        raise GradflowError(
            f"cannot write '{path}': {error.strerror}", "choose a folder that you can write to"
        ) from None
    return path


def default_figure(stem: str) -> Path:
    """Return ``stem.png`` in the current folder, unless that would overwrite a user's picture.

    Raises
    ------
    GradflowError
        If a file of that name is there and gradflow did not make it.
    """
    path = check_writable(f"{stem}.png")
    if path.exists() and path.stat().st_size and SOFTWARE.encode() not in path.read_bytes()[:4096]:
        raise GradflowError(
            f"'{path}' is already here, and gradflow did not make it", "say where with -o FILE.png"
        )
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block ends well."""
    with temporary_beside(path) as temporary:
        yield temporary
        put(temporary, path)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, as `gradflow.temporaries.beside`."""
    with _cannot_write(path), beside(path) as temporary:
        yield temporary


def put(temporary: Path, path: Path) -> None:
    """Let `temporary` take the place of `path`."""
    with _cannot_write(path):
        temporary.chmod(permissions(path))
        temporary.replace(path.resolve())  # through a link, not over it


@contextlib.contextmanager
def _cannot_write(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GradflowError(f"cannot write '{path}': {error.strerror or error}") from error


def _refuse_no_file(path: Path) -> None:
    """Refuse what is there and no regular file: a folder, a pipe, a device, a link to nothing."""
    if path.is_dir():
        raise GradflowError(f"'{path}' is a folder", f"name a file in it: {path / 'gradflow.png'}")
    if path.is_symlink() and not path.exists():
        raise GradflowError(f"'{path}' is a link to nothing", "remove it, or name a file")
    if path.exists() and not path.is_file():
        raise GradflowError(f"'{path}' is no regular file", "name a file")
