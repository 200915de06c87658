"""A plain PyTorch loop over a DataLoader, on all cores: what people write."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import torch
from plain_network import loader, network
from protocol import serve
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@functools.cache
def batches(workers: int) -> Iterator[list[Tensor]]:
    """Return an endless stream of shuffled batches."""

    def stream() -> Iterator[list[Tensor]]:
        source = loader(workers)
        while True:
            yield from source

    return stream()


@functools.cache
def training(act: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network and its optimiser."""
    model = network(act)
    return model.train(), torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)


def answer(acts: list[str], steps: int, workers: int = 0) -> dict[str, Any]:
    """Take so many steps with each activation; return the seconds of each."""
    seconds = {}
    for act in acts:
        model, optimizer = training(act)
        source = batches(workers)
        for _ in range(1 + 2 * workers):  # what workers have prepared while others had their turn
            next(source)
        start = time.perf_counter()
        for _ in range(steps):
            images, labels = next(source)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
        seconds[act] = time.perf_counter() - start
    return {"seconds": seconds}


if __name__ == "__main__":
    serve({"torch": torch.__version__, "threads": torch.get_num_threads()}, answer)
