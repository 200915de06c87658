"""What a measurement was made on, and how its numbers are put."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """Return processor, cores, memory and system in a line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(
            (part.strip() for part in line.split(":", 1))
            for line in info.read_text().splitlines()
            if ":" in line
        )
        numbers = ", ".join(
            f"{name} {fields[name]}" for name in ("cpu family", "model") if name in fields
        )
        return f"{fields.get('model name', platform.machine())} ({numbers})"
    return platform.processor() or platform.machine()


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
