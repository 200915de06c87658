"""A dask cluster, as far as it is needed. The library is imported when one is asked for."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Collection, Iterator
from typing import Any

from gradflow.errors import GradflowError


class Cluster:
    """A dask client."""

    def __init__(self, distributed: Any, client: Any) -> None:
        self._distributed, self.client = distributed, client
        self.submit = client.submit

    def there(self) -> bool:
        """Return whether the scheduler answers."""
        return bool(self.client.status == "running")

    def done(self, futures: Collection[Any], seconds: float) -> list[Any]:
        """Wait until one of `futures` is done, or for so long; return those that are."""
        gone = self._distributed.CancelledError, self._distributed.TimeoutError
        with self.client.as_current(), contextlib.suppress(*gone):
            self._distributed.wait(list(futures), timeout=seconds, return_when="FIRST_COMPLETED")
        return [f for f in futures if f.done() and not f.cancelled()]


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Give the cluster whose scheduler has this address.

    Raises
    ------
    GradflowError
        If dask is not installed, or no scheduler answers.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise GradflowError(
            "--cluster needs dask.distributed", "pip install 'gradflow-diagnostics[cluster]'"
        ) from None
    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise GradflowError(
            f"no dask scheduler answers at '{address}': {said}",
            "dask scheduler prints its address: --cluster tcp://HOST:PORT",
        ) from None
    try:
        yield Cluster(distributed, client)
    finally:
        client.close(timeout=2)
