"""Run by test_distributed.py in two processes: python two_processes.py RANK FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import gradflow

STEPS, EXAMPLES, CLIP = 3, 16, 0.05
KINDS = ("ddp",) if torch.__version__.startswith("2.6.") else ("ddp", "fsdp2")  # not on CPUs


def model() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [m for _ in range(3) for m in (nn.Linear(8, 9), nn.Tanh(), nn.Linear(9, 8), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(8, 3))  # 9 and 3 rows do not divide by two


def watched(net: nn.Module, share: slice) -> dict[str, Any]:
    """Train on this process's share of every batch; return what watch saw."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    with gradflow.watch(net) as w:
        for _ in range(STEPS):
            inputs = torch.randn(EXAMPLES, 8, generator=generator)[share]
            labels = torch.randint(3, (EXAMPLES,), generator=generator)[share]
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), labels).backward()
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
    return w.result().to_dict()


def parallel(kind: str, net: nn.Sequential) -> nn.Module:
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(net)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in net:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(net, mesh=mesh)


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    half = EXAMPLES // 2
    share = slice(rank * half, (rank + 1) * half)
    seen = {kind: watched(parallel(kind, model()), share) for kind in KINDS}
    (folder / f"{rank}.json").write_text(json.dumps(seen), encoding="utf-8")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
