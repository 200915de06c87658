"""Codes inside a model that become the same for every example, and codes that do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.results.watching import WatchResult


def collapse(result: WatchResult) -> str:
    """What is said of a collapse; nothing where nothing is."""
    return "".join(f.message for f in result.findings if f.code == "collapse")


class Quantised(nn.Module):
    def __init__(self, one_hot: bool) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 3), nn.Linear(3, 6)
        self.codes, self.one_hot = nn.Parameter(torch.randn(16, 3)), one_hot

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        near = torch.cdist(z, self.codes).argmin(1)
        q = F.one_hot(near, 16).float() @ self.codes if self.one_hot else self.codes[near]
        return self.decode(z + (q - z).detach()), F.mse_loss(q, z.detach())


def quantised(scale: float, one_hot: bool) -> str:
    torch.manual_seed(0)
    model = Quantised(one_hot)
    with torch.no_grad():
        model.codes.mul_(scale)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with gradflow.watch(model) as watch:
        for _ in range(24):
            x = torch.randn(32, 6)
            made, commit = model(x)
            optimizer.zero_grad()
            (F.mse_loss(made, x) + commit).backward()
            optimizer.step()
    return collapse(watch.result())


def test_a_codebook_of_which_one_code_is_used() -> None:
    for one_hot in (False, True):
        assert "all 32 vectors of a batch are given the same code" in quantised(60.0, one_hot)
        assert quantised(1.0, one_hot) == ""


def drawn(weight: float) -> str:
    torch.manual_seed(0)
    encode, decode = nn.Linear(6, 4), nn.Linear(2, 6)
    model = nn.ModuleList([encode, decode])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    with gradflow.watch(model) as watch:
        for _ in range(120):
            x = torch.randn(32, 2) @ torch.ones(2, 6).triu()
            mean, log_var = encode(x).chunk(2, 1)
            made = decode(mean + torch.randn_like(mean) * (0.5 * log_var).exp())
            prior = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).mean()
            optimizer.zero_grad()
            (F.mse_loss(made, x) + weight * prior).backward()
            optimizer.step()
    return collapse(watch.result())


def test_a_drawn_code_that_says_nothing_of_its_example() -> None:
    assert "the code that is drawn says nothing of its example" in drawn(100.0)
    assert drawn(0.01) == ""


def pulled(apart: float) -> str:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with gradflow.watch(model) as watch:
        for _ in range(170):  # up to a step whose batch is looked at
            x = torch.randn(32, 6)
            one, other = model(x), model(x + 0.3 * torch.randn(32, 6))
            loss = F.mse_loss(one, other)
            if apart:
                loss = loss + apart * F.relu(1 - one.std(0)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return collapse(watch.result())


def test_two_views_that_nothing_pushes_apart() -> None:
    assert "the outputs came to be the same" in pulled(0.0)
    assert pulled(1.0) == ""


class Conditional(nn.Module):
    """Guesses from a code and from a hint that says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.Sigmoid())
        self.code, self.hint, self.out = nn.Linear(4, 8), nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor, hint: Tensor) -> Tensor:
        made: Tensor = self.out(torch.tanh(self.code(self.encode(x)) + self.hint(hint)))
        return made


def conditional(decay: float) -> str:
    torch.manual_seed(0)
    model = Conditional()
    own = list(model.encode.parameters())
    rest = [p for p in model.parameters() if all(p is not q for q in own)]
    groups = [{"params": own, "weight_decay": decay}, {"params": rest}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    with gradflow.watch(model) as watch:
        for _ in range(90):
            x = torch.randn(32, 6)
            optimizer.zero_grad()
            F.mse_loss(model(x, torch.randn(32, 6)), x).backward()
            optimizer.step()
    return collapse(watch.result())


def test_a_code_inside_is_named_though_the_outputs_differ() -> None:
    assert "is given came to be the same for all examples" in conditional(3.0)
    assert "code" in conditional(3.0)
    assert conditional(0.0) == ""
