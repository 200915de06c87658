"""Files of a run folder: read only if they are regular, written whole or not at all.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gradflow.errors import GradflowError
from gradflow.temporaries import beside, permissions


def content(file: Path, most: int) -> bytes | None:
    """Return what a file holds, None where there is none.

    Raises
    ------
    GradflowError
        If it is no regular file (a pipe would make us wait), has more than `most` bytes, or
        cannot be read.
    """
    try:
        with open(file, "rb", opener=_without_waiting) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise GradflowError(f"'{file}' is no regular file", "remove it")
            read = opened.read(most + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: of a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise GradflowError(f"cannot read '{file}': {reason}") from error
    if len(read) > most:
        raise GradflowError(f"'{file}' is damaged: it has more than {most:,} bytes")
    return read


def write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all; where it is a link, the link is replaced.

    Raises
    ------
    GradflowError
        If it cannot be written.
    """
    with replacing(file) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a temporary beside `file` that takes its place when the block ends well.

    Raises
    ------
    GradflowError
        If it cannot be written.
    """
    with _writing(file), beside(file) as temporary:
        yield temporary
        temporary.chmod(permissions(file))
        temporary.replace(file)


def append(file: Path, data: bytes) -> None:
    """Add to a file, which is no link; the system has it when this returns.

    Raises
    ------
    GradflowError
        If it cannot be written.
    """
    with _writing(file), open(file, "ab", opener=_through_no_link) as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _through_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise GradflowError(f"cannot write '{file}': {said}") from error
