"""What a report costs: its size, and the time to write it, over the command's own.

python benchmarks/report_cost.py

Each line is a process of its own, so that imports count.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

#: What is reported, and the lines of Python that make it as `result`.
RESULTS = {
    "eval relu --at 1": "from gradflow import evaluate; result = evaluate('relu', [1.0])",
    "diagnose --depth 10": "result = diagnose(NetworkConfig(depth=10), remedies=False)",
    "diagnose --depth 200": "result = diagnose(NetworkConfig(depth=200), remedies=False)",
    "watch, 10 layers, 200 steps": "result = watched(10, 200)",
    "watch, 100 layers, 2000 steps": "result = watched(100, 2000)",
}
_START = """
import time
import torch
from torch import nn
import gradflow
from gradflow import NetworkConfig, diagnose

def watched(layers, steps):
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(layers)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(4, 8)).square().mean().backward()
            optimizer.step()
    return watch.result()
"""
_END = """
start = time.perf_counter()
result.save("report.html")
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print a line for each result."""
    print(f"{'command':<32}{'MB':>6}{'seconds':>9}")
    for name, made in RESULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            code = f"{_START}\n{made}\n{_END}"
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
            )
            size = (Path(folder) / "report.html").stat().st_size
        print(f"{name:<32}{size / 1e6:>6.2f}{float(done.stdout.split()[-1]):>9.2f}")


if __name__ == "__main__":
    main()
