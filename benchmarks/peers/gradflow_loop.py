"""gradflow's own loop on one thread; its benchmark runs one such process per core."""

from __future__ import annotations

import functools
from typing import Any

import torch
from protocol import serve
from torch import nn

import gradflow
from gradflow.activations import activation
from gradflow.benchmarking.networks.convnet import article_network
from gradflow.datasets.images import load
from gradflow.executors import processes
from gradflow.training.optimizers import optimizer
from gradflow.training.trainer import Examples, Trainer

CPU = torch.device("cpu")


@functools.cache
def examples() -> Examples:
    """Return the training set."""
    mnist = load()
    return Examples.upload(mnist.train_images, mnist.train_labels, CPU)


@functools.cache
def trainer(act: str, precision: str) -> Trainer:
    """Return a training run as the benchmark has it."""
    model = article_network(activation(act))
    clip = functools.partial(nn.utils.clip_grad_value_, clip_value=0.5)
    return Trainer(model, optimizer("adam", model.parameters(), 1e-3), clip, precision)


def answer(acts: list[str], steps: int, precision: str) -> dict[str, Any]:
    """Take so many steps with each activation; return the seconds of each."""
    data, count = examples(), 128 * steps
    part = Examples(data.images[:count], data.labels[:count])
    seconds = {act: trainer(act, precision).epoch(part, 128).seconds for act in acts}
    return {"seconds": seconds}


if __name__ == "__main__":
    processes.keep_freed_memory()  # as in a worker of the benchmark
    torch.set_num_threads(1)
    serve({"gradflow": gradflow.__version__, "torch": torch.__version__}, answer)
