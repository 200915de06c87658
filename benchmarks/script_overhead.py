"""What `gradflow watch` costs a script of 200 small steps, from start to exit.

    python benchmarks/script_overhead.py [--steps 200] [--rounds 5]

Runs the script alone and watched, one after the other, and prints the medians in seconds: by the
clock, and of the processor, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = """
import sys
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
centres = torch.randn(10, 64)
for step in range(int(sys.argv[1])):
    y = torch.randint(10, (128,))
    x = centres[y] + torch.randn(128, 64)
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
print(loss.item())
"""


def seconds(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds by the clock and of the processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used


def main() -> int:
    """Print both times and what may be spent; return 1 where more is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text(SCRIPT)
        alone = [sys.executable, str(script), str(options.steps)]
        watched = [sys.executable, "-m", "gradflow", "watch", "--json", *alone[1:]]
        seconds(alone), seconds(watched)  # files are read into memory
        pairs = [(seconds(alone), seconds(watched)) for _ in range(options.rounds)]
    within = True
    for place, name in enumerate(("clock", "processor")):
        own, under = (statistics.median(pair[i][place] for pair in pairs) for i in (0, 1))
        bound = 1.3 * own + 3
        within = under <= bound
        print(
            f"{options.steps} steps, {name:9}: alone {own:5.2f} s, watched {under:5.2f} s "
            f"(+{under - own:.2f} s); at most {bound:5.2f} s"
        )
    return int(not within)


if __name__ == "__main__":
    sys.exit(main())
