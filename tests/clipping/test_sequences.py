"""Recurrent networks against torch's own, and the batches of the sequence tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradflow.clipping import sequences
from gradflow.configs.architectures import names_with
from gradflow.networks.sequence import SequenceNetwork, initialize, recurrent_layer

TORCH: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def network(cell: str, replicas: int = 3, radius: float | None = 1.2) -> SequenceNetwork:
    made = SequenceNetwork(recurrent_layer(cell, replicas, 2, 5, torch.float64), 2, 4)
    generators = [torch.Generator().manual_seed(seed) for seed in range(replicas)]
    initialize(made, radius, generators)
    return made


@pytest.mark.parametrize("cell", names_with("recurrent", True))
def test_states_and_gradients_are_torchs_own(cell: str) -> None:
    made = network(cell)
    inputs = torch.randn(3, 4, 7, 2, dtype=torch.float64, requires_grad=True)
    states = made.recurrent(inputs)
    states.sin().sum().backward()  # type: ignore[no-untyped-call]
    for replica in range(3):
        own = TORCH[cell](2, 5, batch_first=True, dtype=torch.float64)
        with torch.no_grad():
            for p, whole in zip(own.parameters(), made.recurrent.parameters(), strict=True):
                p.copy_(whole[replica])
        expected = own(inputs[replica])[0]
        torch.testing.assert_close(states[replica], expected, rtol=1e-12, atol=1e-13)
        gradients = torch.autograd.grad(expected.sin().sum(), list(own.parameters()))
        for gradient, whole in zip(gradients, made.recurrent.parameters(), strict=True):
            assert whole.grad is not None
            torch.testing.assert_close(whole.grad[replica], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", names_with("recurrent", True))
def test_every_gates_recurrent_block_has_the_spectral_radius(cell: str) -> None:
    weights = network(cell).recurrent.weight.detach()
    for block in weights.reshape(-1, 5, 5).numpy():
        assert np.abs(np.linalg.eigvals(block)).max() == pytest.approx(1.2, rel=1e-6)


def test_a_replica_is_drawn_from_its_own_seed_alone() -> None:
    three, one = network("gru"), network("gru", replicas=1)
    for many, single in zip(three.parameters(), one.parameters(), strict=True):
        assert torch.equal(many[0], single[0])
        assert not torch.equal(many[0], many[1])


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_nothing_of_a_step_is_left_on_the_cpu(cell: str) -> None:
    made = network(cell).to("meta")
    outputs = made(torch.empty(3, 4, 7, 2, dtype=torch.float64, device="meta"))
    assert outputs.shape == (3, 8, 4)
    outputs.sum().backward()  # type: ignore[no-untyped-call]


def test_the_adding_problem() -> None:
    inputs, targets = sequences.adding(sequences.random(0, 0), 20_000, 10)
    assert inputs.shape == (20_000, 10, 2)
    marks = inputs[..., 1]
    assert set(np.unique(marks)) == {0.0, 1.0}
    assert (marks[:, :5].sum(1) == 1).all()
    assert (marks[:, 5:].sum(1) == 1).all()
    assert targets == pytest.approx(
        [sum(x[m == 1]) for x, m in zip(inputs[..., 0], marks, strict=True)]
    )
    # Of a sum of two uniform numbers: mean 1, variance 1/6; standard error 0.0017.
    assert ((targets - 1) ** 2).mean() == pytest.approx(1 / 6, abs=0.007)


def test_the_copy_task() -> None:
    inputs, targets = sequences.copying(sequences.random(0, 0), 3, 20)
    assert inputs.shape == (3, 20, 10)
    assert (inputs.sum(2) == 1).all()
    shown = inputs.argmax(2)
    assert (shown[:, :5].ravel() == targets).all()
    assert targets.max() < 8
    assert (np.delete(shown[:, 5:], 9, axis=1) == 8).all()
    assert (shown[:, 14] == 9).all()  # five blanks before the end


def test_rows_of_images_keep_their_labels() -> None:
    data = sequences.images("mnist")
    inputs, labels = sequences.rows(sequences.random(0, 0), 50, data)
    assert inputs.shape == (50, 28, 28)
    assert inputs.max() == 1
    for image, label in zip(inputs, labels, strict=True):
        found = (data.train_images == (image * 255).round()).all((1, 2))
        assert label in data.train_labels[found]


def test_batches_depend_on_seed_and_number_alone() -> None:
    def drawn(seed: int, index: int) -> Any:
        return sequences.adding(sequences.random(seed, index), 3, 4)[0].tolist()

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(1, 0)
    assert drawn(0, 1) != drawn(0, 2)
