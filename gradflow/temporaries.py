"""Temporary files that are known by their names: who made them, and whether he still runs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"\.?gradflow-(?P<host>[0-9a-f]{8})-(?P<owner>\d+)-.*")


def prefix() -> str:
    """Return what the name of a temporary of this process begins with."""
    return f"gradflow-{_host()}-{os.getpid()}-"


def sweep(folder: Path) -> None:
    """Remove temporaries in `folder` that a process of this machine left when it was killed."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (found := _NAME.fullmatch(path.name)) and found["host"] == _host():
                _remove(path, int(found["owner"]))


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a new temporary file beside `path`, with its suffix, that is gone after the block.

    Nobody can foresee its name. What processes that were killed left in the folder is removed
    first.
    """
    sweep(path.parent)
    start = f".{prefix()}{path.stem[:40]}-"
    handle, name = tempfile.mkstemp(prefix=start, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def permissions(path: Path) -> int:
    """Return those of the file that is replaced, or those that a new file would get."""
    if path.exists():
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _remove(path: Path, owner: int) -> None:
    if _runs(owner):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _host() -> str:
    """A folder can be shared by machines, whose processes have the same numbers."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's; or no number of a process
        return True
    return True
