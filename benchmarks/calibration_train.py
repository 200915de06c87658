"""Which random networks learn MNIST? The truth that the verdicts of `diagnose` are held against.

Draws networks at random, trains each with every learning rate of a small grid, and writes the
best test accuracy of each as a line of JSON. All learning rates of one network train at once, as
replicas of the same initial weights.

    python benchmarks/calibration_train.py --seed 1 --out benchmarks/results/calibration-1.jsonl
    python benchmarks/calibration_train.py --seed 2 --out benchmarks/results/calibration-2.jsonl
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.configs.network import NetworkConfig
from gradflow.datasets.images import load
from gradflow.networks.architectures import build

LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STEPS, BATCH, TEST = 400, 128, 2000
ACTS = ("sigmoid", "tanh", "relu", "leaky-relu", "elu", "selu", "gelu", "silu", "softplus")
INITS = ("default", "xavier-normal", "he-normal", "he-uniform", "lecun-normal", "orthogonal")


def draw(rng: np.random.Generator) -> NetworkConfig:
    """Return a random network: most of it common, some of it foolish."""
    options: dict[str, Any] = {
        "depth": round(2 * 20 ** rng.uniform()),
        "width": int(rng.choice([32, 64, 128])),
        "act": str(rng.choice(ACTS)),
        "init": str(rng.choice(INITS)),
        "gain": float(10 ** rng.uniform(-0.6, 0.6)) if rng.uniform() < 0.6 else 1.0,
        "norm": str(rng.choice(["none", "batch", "layer", "rms"], p=[0.55, 0.15, 0.15, 0.15])),
        "residual": bool(rng.uniform() < 0.25),
        "seed": int(rng.integers(2**31)),
    }
    if rng.uniform() < 0.2:
        options["bias_variance"] = float(rng.uniform(0, 1))
    if rng.uniform() < 0.08:
        options["bias_mean"] = float(rng.uniform(-6, 0))
    return NetworkConfig(data="mnist", batch_size=BATCH, device="cpu", **options)


def replicate(model: nn.Module, copies: int) -> None:
    """Give every parameter of a single network `copies` equal replicas."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            repeated = parameter.detach().repeat(copies, *[1] * (parameter.dim() - 1))
            setattr(module, name, nn.Parameter(repeated))


def train(config: NetworkConfig, images: Tensor, labels: Tensor) -> nn.Module:
    """Train by SGD with momentum 0.9, one learning rate per replica; return the networks."""
    model = build(config, images.shape[1], 10, torch.float32, torch.device("cpu"))
    replicate(model, len(LEARNING_RATES))
    parameters = list(model.parameters())
    velocity = [torch.zeros_like(p) for p in parameters]
    rates = torch.tensor(LEARNING_RATES)
    generator = torch.Generator().manual_seed(config.seed)
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        logits = model(images[chosen].expand(len(rates), -1, -1))
        losses = F.cross_entropy(
            logits.flatten(0, 1), labels[chosen].repeat(len(rates)), reduction="none"
        )
        gradients = torch.autograd.grad(losses.sum() / BATCH, parameters)
        with torch.no_grad():
            for p, v, g in zip(parameters, velocity, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.sub_(rates.view(-1, *[1] * (p.dim() - 1)) * v)
    return model


def accuracies(model: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Return the test accuracy of every replica."""
    with torch.no_grad():
        logits = model(images.expand(len(LEARNING_RATES), -1, -1))
    return [float(a) for a in (logits.argmax(-1) == labels).double().mean(1)]


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # nothing is measured here; a dead network is 20 times slower
    data = load()
    images = torch.from_numpy(data.train_images).flatten(1).float() / 255
    labels = torch.from_numpy(data.train_labels).long()
    test_images = torch.from_numpy(data.test_images[:TEST]).flatten(1).float() / 255
    test_labels = torch.from_numpy(data.test_labels[:TEST]).long()
    rng = np.random.default_rng(arguments.seed)
    with arguments.out.open("w", encoding="utf-8") as out:
        for index in range(arguments.count):
            start, config = time.perf_counter(), draw(rng)
            found = accuracies(train(config, images, labels), test_images, test_labels)
            assert all(math.isfinite(a) for a in found)
            record = {"config": dataclasses.asdict(config), "accuracies": found}
            out.write(json.dumps(record) + "\n")
            out.flush()
            seconds = time.perf_counter() - start
            print(f"{index + 1}/{arguments.count} {max(found):.3f} in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
