"""Keras 3 on torch, with the real library where it is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(keras.config.backend() != "torch", reason="another backend"),
]


def classifier(activation: str, depth: int) -> Any:
    keras.utils.set_random_seed(0)
    keras.utils.clear_session()
    layers = [keras.layers.Dense(32, activation=activation) for _ in range(depth)]
    head = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input((8,)), *layers, head])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def batch() -> tuple[Any, Any]:
    inputs = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    return inputs, (inputs[:, 0] > 0).astype("int32")


def fitted(model: Any, callback: Any, epochs: int = 4, **options: Any) -> list[float]:
    history = model.fit(
        *batch(), batch_size=32, epochs=epochs, verbose=0, callbacks=[callback], **options
    )
    losses: list[float] = history.history["loss"]
    return losses


def test_a_healthy_network_is_healthy_and_trains_as_without() -> None:
    from gradflow.integrations import KerasWatch

    callback = KerasWatch()
    watched = fitted(classifier("relu", 3), callback)
    assert watched == fitted(classifier("relu", 3), keras.callbacks.Callback())
    result = callback.result
    assert result.verdict == "healthy"
    assert result.findings == ()
    assert [row.name for row in result.records] == ["dense", "dense_1", "dense_2", "dense_3"]
    assert [row.kind for row in result.records] == ["Dense"] * 4
    assert all(row.update_ratio and row.weight_norm for row in result.records)
    assert [row.dead_fraction is not None for row in result.records] == [True, True, True, False]
    assert result.seen == 32
    assert result.facts.unread == ()


def test_sigmoid_vanishes_and_ends_the_training() -> None:
    from gradflow.integrations import KerasWatch

    callback = KerasWatch(fail_on="vanishing", check_every=5)
    fitted(classifier("sigmoid", 8), callback)
    assert (callback.stopped_by, callback.result.seen) == ("vanishing", 5)


def test_delta_is_that_of_the_product_before_the_activation() -> None:
    from gradflow.integrations import KerasWatch

    model = classifier("sigmoid", 1)
    kernel, bias, head, head_bias = (v.value.detach().clone() for v in model.trainable_variables)
    callback = KerasWatch()
    inputs, labels = batch()
    model.fit(inputs, labels, batch_size=256, epochs=1, verbose=0, callbacks=[callback])
    z = (torch.from_numpy(inputs) @ kernel.cpu() + bias.cpu()).requires_grad_()
    logits = torch.sigmoid(z) @ head.cpu() + head_bias.cpu()
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
    (delta,) = torch.autograd.grad(loss, z)
    first = callback.result.records[0]
    assert first.delta_log10_rms is not None
    assert 10**first.delta_log10_rms == pytest.approx(delta.square().mean().sqrt().item(), rel=1e-3)


def test_a_model_is_stored_as_ever_while_it_is_watched(tmp_path: Path) -> None:
    from gradflow.integrations import KerasWatch

    model = classifier("gelu", 2)
    described = model.to_json()
    apply = model.optimizer.apply
    stored = keras.callbacks.ModelCheckpoint(str(tmp_path / "model.keras"))
    callback = KerasWatch()
    model.fit(*batch(), epochs=1, verbose=0, callbacks=[callback, stored])
    assert model.to_json() == described
    assert model.optimizer.apply == apply
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.allclose(again.predict(batch()[0], verbose=0), model.predict(batch()[0], verbose=0))


def test_convolutions_recurrent_layers_and_normalisation() -> None:
    from gradflow.integrations import KerasWatch

    keras.utils.set_random_seed(0)
    keras.utils.clear_session()
    layers = keras.layers
    images = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Reshape((16, -1)),
            layers.LSTM(8),
            layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    images.compile("sgd", loss)
    callback = KerasWatch(sample_every=1)
    inputs = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
    labels = (inputs.mean((1, 2, 3)) > 0).astype("int32")
    images.fit(inputs, labels, epochs=2, verbose=0, callbacks=[callback])
    names = [row.name for row in callback.result.records]
    assert names[0] == "conv2d"
    assert any("lstm" in name for name in names)
    assert names[-1] == "dense"
    assert callback.result.facts.unread == ()
    assert callback.result.seen == 4
