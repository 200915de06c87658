"""What makes a folder that of one run: `run.json`, written once and never again.

Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradflow.benchmarking.storage import files
from gradflow.errors import GradflowError
from gradflow.results.decoding import parse, record

NAME = "run.json"
_FORMAT, _MOST_BYTES, _MOST_THREADS = 1, 1 << 16, 1024
#: What a resumed run may be given more of, and what may have moved: its contents are compared.
GROWS, MOVES = ("act", "seeds", "epochs"), ("data",)


@dataclass(frozen=True)
class Marker:
    """Whose folder it is.

    Attributes
    ----------
    run
        A random number, in hexadecimal; every row and checkpoint carries it.
    config, data
        Hashes of what the numbers depend on, and of the images' contents.
    threads
        Of torch for each run: sums over several are split differently.
    """

    format: int
    run: str
    config: str
    data: str
    threads: int

    @staticmethod
    def new(settings: dict[str, Any], data: str, threads: int) -> Marker:
        """Return the marker of a run that begins."""
        return Marker(_FORMAT, secrets.token_hex(8), config_hash(settings), data, threads)

    @staticmethod
    def read(folder: Path) -> Marker | None:
        """Return the marker of a folder, None where it has none.

        Raises
        ------
        GradflowError
            If it is damaged, or of a later gradflow.
        """
        file = folder / NAME
        stored = files.content(file, _MOST_BYTES)
        if stored is None:
            return None
        try:
            marker = record(Marker, parse(stored))
            marker._check()
        except ValueError as error:
            raise GradflowError(
                f"'{file}' is damaged: {error}", "choose another --output-dir"
            ) from None
        return marker

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        files.write(folder / NAME, (json.dumps(vars(self), indent=1) + "\n").encode())

    def _check(self) -> None:
        if self.format != _FORMAT:
            raise ValueError(f"its format is {self.format}, not {_FORMAT}")
        if not 1 <= self.threads <= _MOST_THREADS:
            raise ValueError(f"'threads': it should be from 1 to {_MOST_THREADS}")


def config_hash(settings: dict[str, Any]) -> str:
    """Return the hash of what stays the same when a run is resumed."""
    kept = {name: value for name, value in settings.items() if name not in (*GROWS, *MOVES)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
