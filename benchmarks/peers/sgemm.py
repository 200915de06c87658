"""The rate of single-precision matrix products on one thread, by size."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from protocol import serve


def rate(size: int, seconds: float) -> float:
    """Return the median rate of square products in GFLOP/s."""
    a, b = torch.randn(2, size, size)
    out = torch.mm(a, b)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times) / 1e9


def answer(sizes: list[int], seconds: float) -> dict[str, Any]:
    """Return the rate at each size, measured for so many seconds each."""
    return {"rates": [rate(size, seconds) for size in sizes]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve({"torch": torch.__version__}, answer)
