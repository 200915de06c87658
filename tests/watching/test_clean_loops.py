"""Loops that train as they should, however unusual: no errors, and no warnings of the loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.results.watching import WatchResult


def classes(count: int = 240) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(4, (count,), generator=generator)
    centres = 1.5 * torch.randn(4, 10, generator=generator)
    return centres[labels] + torch.randn(count, 10, generator=generator), labels


def network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )


def batches(epochs: int, size: int = 24) -> list[tuple[Tensor, Tensor]]:
    x, y = classes()
    return [(x[r], y[r]) for _ in range(epochs) for r in torch.randperm(len(x)).split(size)]


def accumulated() -> WatchResult:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with gradflow.watch(model) as watch:
        for i, (x, y) in enumerate(batches(16)):
            (F.cross_entropy(model(x), y) / 4).backward()
            if i % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    return watch.result()


def lbfgs() -> WatchResult:
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=5)
    x, y = classes()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with gradflow.watch(model) as watch:
        for _ in range(12):
            optimizer.step(closure)
    return watch.result()


def sharpness_aware() -> WatchResult:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with gradflow.watch(model) as watch:
        for x, y in batches(10):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
            moves = [0.05 / (norm + 1e-12) * p.grad for p in model.parameters()]
            with torch.no_grad():
                for p, move in zip(model.parameters(), moves, strict=True):
                    p.add_(move)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p, move in zip(model.parameters(), moves, strict=True):
                    p.sub_(move)
            optimizer.step()
    return watch.result()


def scheduled(make: Callable[[torch.optim.Optimizer, int], object]) -> WatchResult:
    model, data = network(), batches(16)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = make(optimizer, len(data))
    with gradflow.watch(model) as watch:
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()  # type: ignore[attr-defined]
    return watch.result()


def warm_up_from_0() -> WatchResult:
    return scheduled(
        lambda o, n: torch.optim.lr_scheduler.LambdaLR(o, lambda t: min(1.0, t / (0.2 * n)))
    )


def cosine_to_0() -> WatchResult:
    return scheduled(torch.optim.lr_scheduler.CosineAnnealingLR)


def one_cycle() -> WatchResult:
    return scheduled(
        lambda o, n: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.02, total_steps=n)
    )


def ema() -> WatchResult:
    model = network()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
    with gradflow.watch(model) as watch:
        for x, y in batches(12):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            with torch.no_grad():
                for p, q in zip(average.parameters(), model.parameters(), strict=True):
                    p.lerp_(q, 0.01)
    return watch.result()


def frozen_backbone() -> WatchResult:
    model = network()
    for part in model[:-1]:
        part.requires_grad_(False)
    optimizer = torch.optim.Adam(model[-1].parameters(), lr=0.02)
    with gradflow.watch(model) as watch:
        for x, y in batches(15):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return watch.result()


def half() -> WatchResult:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with gradflow.watch(model) as watch:
        for x, y in batches(12):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    return watch.result()


def two_optimizers() -> WatchResult:
    model = network()
    one = torch.optim.SGD(model[:3].parameters(), lr=0.1)
    other = torch.optim.Adam(model[3:].parameters(), lr=5e-3)
    with gradflow.watch(model) as watch:
        for x, y in batches(12):
            one.zero_grad()
            other.zero_grad()
            F.cross_entropy(model(x), y).backward()
            one.step()
            other.step()
    return watch.result()


def by_hand() -> WatchResult:
    model = network()
    with gradflow.watch(model) as watch:
        for x, y in batches(15):
            loss = F.cross_entropy(model(x), y)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            for p, gradient in zip(model.parameters(), gradients, strict=True):
                p.grad = gradient
            watch.step()
            with torch.no_grad():
                for p, gradient in zip(model.parameters(), gradients, strict=True):
                    p.sub_(0.1 * gradient)
    return watch.result()


def clipped_under_adam() -> WatchResult:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with gradflow.watch(model) as watch:
        for x, y in batches(8):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
    return watch.result()


class Graphed(nn.Module):
    """Two layers over the edges of a graph, which are given as a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Linear(10, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        hidden = torch.relu(torch.sparse.mm(edges, self.first(x)))
        return torch.sparse.mm(edges, self.second(hidden))


def sparse_graph() -> WatchResult:
    x, y = classes(120)
    edges = 0.5 * (torch.eye(120) + torch.eye(120).roll(1, 0) * (y == y.roll(1))).to_sparse()
    model = Graphed()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with gradflow.watch(model) as watch:
        for _ in range(80):
            optimizer.zero_grad()
            F.cross_entropy(model(x, edges), y).backward()
            optimizer.step()
    return watch.result()


class SkipGram(nn.Module):
    """Words and the words around them, as vectors that are looked up."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.words, self.around = nn.Embedding(12, 8, sparse=True), nn.Embedding(12, 8, sparse=True)

    def forward(self, word: Tensor, near: Tensor, far: Tensor) -> Tensor:
        score = (self.words(word) * self.around(near)).sum(1)
        noise = (self.words(word)[:, None] * self.around(far)).sum(2)
        return -(F.logsigmoid(score) + F.logsigmoid(-noise).sum(1)).mean()


def looked_up() -> WatchResult:
    model = SkipGram()
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.05)
    with gradflow.watch(model) as watch:
        for _ in range(150):
            word = torch.randint(12, (32,))
            optimizer.zero_grad()
            model(
                word, word // 3 * 3 + torch.randint(3, (32,)), torch.randint(12, (32, 3))
            ).backward()
            optimizer.step()
    return watch.result()


def contrast() -> WatchResult:
    """Each example is to be told by its other view, whose similarity is put first."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with gradflow.watch(model) as watch:
        for x, _ in batches(12):
            one, other = (F.normalize(model(x + 0.1 * torch.randn_like(x))) for _ in range(2))
            alike = one @ other.T
            others = alike[~torch.eye(len(x), dtype=torch.bool)].view(len(x), -1)
            scores = torch.cat([alike.diag()[:, None], others], 1) / 0.1
            optimizer.zero_grad()
            F.cross_entropy(scores, torch.zeros(len(x), dtype=torch.long)).backward()
            optimizer.step()
    return watch.result()


LOOPS = [
    clipped_under_adam,
    sparse_graph,
    looked_up,
    contrast,
    accumulated,
    lbfgs,
    sharpness_aware,
    warm_up_from_0,
    cosine_to_0,
    one_cycle,
    ema,
    frozen_backbone,
    half,
    two_optimizers,
    by_hand,
]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_sound_loop_has_no_findings(loop: Callable[[], WatchResult]) -> None:
    result = loop()
    loud = [
        f"{f.severity} {f.code}: {f.message}"
        for f in result.findings
        # without a backward pass δ is not read
        if f.severity != "info" and not (loop is by_hand and f.code == "unjudged")
    ]
    assert loud == []


def gan() -> tuple[WatchResult, ...]:
    torch.manual_seed(1)
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    of_maker = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.999))
    of_judge = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce, real, fake = F.binary_cross_entropy_with_logits, torch.ones(64, 1), torch.zeros(64, 1)
    with gradflow.watch(maker) as one, gradflow.watch(judge) as other:
        for _ in range(250):
            data = torch.randn(64, 2) @ torch.tensor([[1.0, 0.5], [0.0, 0.7]]) + 2
            made = maker(torch.randn(64, 4))
            of_judge.zero_grad()
            (bce(judge(data), real) + bce(judge(made.detach()), fake)).backward()
            of_judge.step()
            of_maker.zero_grad()
            bce(judge(made), real).backward()
            of_maker.step()
    return one.result(), other.result()


def policy_gradient() -> tuple[WatchResult, ...]:
    torch.manual_seed(1)
    policy = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    with gradflow.watch(policy) as watch:
        for _ in range(200):
            state = torch.randn(64, 3)
            chosen = torch.distributions.Categorical(logits=policy(state))
            action = chosen.sample()
            reward = (action == (state[:, 0] > 0)).float()
            optimizer.zero_grad()
            (-(chosen.log_prob(action) * (reward - reward.mean()))).mean().backward()
            optimizer.step()
    return (watch.result(),)


@pytest.mark.parametrize("loop", [gan, policy_gradient])
def test_losses_that_need_not_fall_are_no_errors(
    loop: Callable[[], tuple[WatchResult, ...]],
) -> None:
    for result in loop():
        assert [f.message for f in result.findings if f.severity == "error"] == []
        assert result.verdict == "healthy"


def test_a_generator_whose_rival_learns_has_not_diverged_for_sure() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with gradflow.watch(model) as watch:
        for step in range(40):
            optimizer.zero_grad()
            ((1 + step) * F.softplus(model(torch.randn(16, 2))).mean()).backward()
            optimizer.step()
    (found,) = (f for f in watch.result().findings if f.code == "diverged")
    assert found.severity == "warning"
