"""What training shows, in minutes: how deep, how sharp, how wide.

Schoenholz et al. 2017, Cohen et al. 2021 and 2022, Yang et al. 2022.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from published.claims import Claim
from torch import Tensor, nn

from gradflow import NetworkConfig, SweepConfig, sweep
from gradflow.datasets.images import load
from gradflow.widths import width

#: σ_w² to both sides of tanh's edge of chaos at σ_b² = 0.05, which is at 1.76.
VARIANCES = (0.9, 1.2, 2.7, 3.0, 3.3)


def depth_over_scale() -> list[float]:
    """Return, per weight variance, the deepest tanh network that trains, in depth scales ξ."""
    result = sweep(
        SweepConfig(
            act=("tanh",),
            bias_variances=(0.05,),
            depths=tuple(range(5, 65, 5)),
            weight_variances=VARIANCES,
            seeds=1,
            train=300,
        )
    )
    trained = {row.weight_variance: row.trained_to for row in result.summary}
    scales = {row.weight_variance: row.depth_scale for row in result.scales}
    return [(trained[variance] or 0) / scales[variance] for variance in VARIANCES]


@dataclass
class FullBatch:
    """A network of two tanh layers that learns a few images by their whole batch."""

    rule: str
    lr: float
    examples: int
    seed: int

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        data = load(None)
        chosen = slice(self.seed * self.examples, (self.seed + 1) * self.examples)
        pixels = torch.from_numpy(data.train_images[chosen]).flatten(1).float() / 255
        self._inputs = (pixels - pixels.mean(0)) / pixels.std()
        labels = torch.from_numpy(data.train_labels[chosen]).long()
        self._targets = nn.functional.one_hot(labels, data.classes).float()
        self.model = nn.Sequential(
            nn.Linear(pixels.shape[1], 100),
            nn.Tanh(),
            nn.Linear(100, 100),
            nn.Tanh(),
            nn.Linear(100, data.classes),
        )
        self.weights = list(self.model.parameters())
        self.optimizer = (
            torch.optim.SGD(self.weights, self.lr)
            if self.rule == "sgd"
            else torch.optim.Adam(self.weights, self.lr, eps=1e-7)
        )
        self._direction = [torch.randn_like(w) for w in self.weights]

    def loss(self) -> Tensor:
        """Return half the squared error, the mean over the examples."""
        return 0.5 * (self.model(self._inputs) - self._targets).square().sum(1).mean()

    def steps(self, count: int) -> Iterator[int]:
        """Train, step by step."""
        for step in range(1, count + 1):
            self.optimizer.zero_grad()
            self.loss().backward()
            self.optimizer.step()
            yield step

    def sharpness(self, step: int) -> float:
        """Return the largest eigenvalue of the Hessian as the optimizer scales it.

        Of P^(-1/2) H P^(-1/2), with Adam's P = (1 − β₁ᵗ)(√v̂ + ε) (Cohen et al. 2022, equation 2).
        """
        scales = [self._scale(w, step) for w in self.weights]
        value = 0.0
        for _ in range(15):  # from the direction of last time, which turns slowly
            norm = math.sqrt(sum(float(d.square().sum()) for d in self._direction))
            unit = [d / norm for d in self._direction]
            gradients = torch.autograd.grad(self.loss(), self.weights, create_graph=True)
            slope = sum((g * s * d).sum() for g, s, d in zip(gradients, scales, unit, strict=True))
            products = torch.autograd.grad(slope, self.weights)
            self._direction = [p * s for p, s in zip(products, scales, strict=True)]
            value = sum(float((d * h).sum()) for d, h in zip(unit, self._direction, strict=True))
        return value

    def _scale(self, weight: Tensor, step: int) -> Tensor:
        if self.rule == "sgd":
            return torch.ones_like(weight)
        second = self.optimizer.state[weight]["exp_avg_sq"] / (1 - 0.999**step)
        return ((1 - 0.9**step) * (second.sqrt() + 1e-7)).rsqrt()


def settled_sharpness(rule: str, lr: float, examples: int, steps: int) -> list[float]:
    """Return η times the sharpness, its mean over the last third of the steps, per network."""
    settled = []
    for seed in range(3):
        run = FullBatch(rule, lr, examples, seed)
        late = [
            run.sharpness(step)
            for step in run.steps(steps)
            if step % 20 == 0 and step > 2 * steps // 3
        ]
        settled.append(lr * sum(late) / len(late))
    return settled


@functools.cache
def slopes(repaired: bool) -> dict[str, float]:
    """Return the power of the width with which Adam moves a layer's outputs, role by role."""
    config = NetworkConfig(depth=2, device="cpu", lr=0.001)
    rows = width(config, widths=(64, 128, 256, 512), seeds=5).records
    return {row.role: row.repaired_slope if repaired else row.slope for row in rows}


def slope(role: str, repaired: bool) -> list[float]:
    """Return that of the layer of one role."""
    return [slopes(repaired)[role]]


def _sharp(rule: str, name: str, published: str, expected: float, *how: float) -> Claim:
    lr, examples, steps = how
    return Claim(
        f"Cohen et al. {name}",
        f"η × {'sharpness' if rule == 'sgd' else 'preconditioned sharpness'} of full-batch "
        f"{'gradient descent' if rule == 'sgd' else 'Adam, β₁ = 0.9'}, η = {lr:g}",
        published,
        expected,
        0.05,  # it hovers about its limit
        functools.partial(settled_sharpness, rule, lr, int(examples), int(steps)),
    )


CLAIMS = [
    Claim(
        "Schoenholz et al. 2017, section 5",
        "depth to which tanh learns MNIST in 300 steps, in depth scales ξ",
        "about 6",
        6.0,
        0.25,  # depths of every fifth layer, and a few steps
        depth_over_scale,
    ),
    _sharp("sgd", "2021, section 3", "2", 2.0, 0.1, 400, 1200),
    _sharp("sgd", "2021, section 3", "2", 2.0, 0.2, 400, 1200),
    _sharp("adam", "2022, section 3", "38", 38.0, 0.001, 200, 1800),
    *(
        Claim(
            "Yang et al. 2022, coordinate check",
            f"power of the width with which Adam moves {'the logits' if role == 'output' else role}"
            f"{' layers' if role == 'hidden' else ''}, {name}",
            published,
            expected,
            within,
            functools.partial(slope, role, repaired),
        )
        for role, repaired, name, published, expected, within in (
            ("hidden", False, "standard", "0.8 to 0.9", (0.8, 0.9), 0.1),
            ("output", False, "standard", "0.9 to 1.2", (0.9, 1.2), 0.1),
            ("hidden", True, "μP", "0 ± 0.1", 0.0, 0.1),
            ("output", True, "μP", "0 ± 0.1", 0.0, 0.1),
        )
    ),
]
