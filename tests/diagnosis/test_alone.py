"""Several threads, empty batches, and what a model or loss does to itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import diagnose
from gradflow.errors import GradflowError


def network(width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, 1))


X, Y = torch.linspace(-1, 1, 128).reshape(16, 8), torch.linspace(0, 1, 16).reshape(16, 1)


def test_threads_that_share_a_model_get_the_right_numbers_each() -> None:
    model = network(64)
    expected = diagnose(model, X, Y, loss=F.mse_loss).rows()
    found: list[Any] = []

    def work() -> None:
        found.extend(diagnose(model, X, Y, loss=F.mse_loss).rows() for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 9


def test_a_loss_that_calls_backward_changes_no_number_and_no_gradient() -> None:
    def impatient(output: Tensor, targets: Tensor) -> Tensor:
        loss = F.mse_loss(output, targets)
        loss.backward(retain_graph=True)
        return loss

    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert (
        diagnose(model, X, Y, loss=impatient).rows()
        == diagnose(network(), X, Y, loss=F.mse_loss).rows()
    )
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())  # type: ignore[arg-type]


def test_a_loss_that_uses_its_graph_up_is_told_why() -> None:
    def hasty(output: Tensor, targets: Tensor) -> Tensor:
        loss = F.mse_loss(output, targets)
        loss.backward()
        return loss

    with pytest.raises(GradflowError, match="a second time") as caught:
        diagnose(network(), X, Y, loss=hasty)
    assert caught.value.hint == "does the loss call backward() itself? That is done for it here"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: (network(), X[:0], Y[:0]), "the batch is empty: a tensor of it is 0 × 8"),
        (lambda: (nn.Conv1d(8, 1, 1), X[:, :, None][..., :0], Y), "is 16 × 8 × 0"),
        (lambda: (network(0), X, Y), r"'0\.weight' has no entries, its shape is 0 × 8"),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_what_is_empty_is_said_to_be(
    make: Callable[[], tuple[nn.Module, Tensor, Tensor]], words: str
) -> None:
    model, inputs, targets = make()
    with pytest.raises(GradflowError, match=words):
        diagnose(model, inputs, targets, loss=F.mse_loss)
