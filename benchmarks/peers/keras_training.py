"""Trains the article's network in Keras for a few epochs and tests it after each."""

from __future__ import annotations

import os
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras_model import VERSIONS, network
from protocol import serve

from gradflow.datasets.images import load


class Clock(keras.callbacks.Callback):
    """Notes the seconds of each epoch's training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start."""
        self.start = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Stop: the epoch's training is over."""
        self.seconds.append(time.perf_counter() - self.start)


def answer(act: str, seed: int, epochs: int, train_size: int) -> dict[str, Any]:
    """Return a row per epoch, with the names of gradflow's own history."""
    mnist, clock = load(), Clock()
    images, tests = (
        part[..., None].astype(np.float32) / 255
        for part in (mnist.train_images[:train_size], mnist.test_images)
    )
    keras.utils.set_random_seed(seed)
    history = (
        network(act, jit_compile=False)
        .fit(
            images,
            mnist.train_labels[:train_size],
            batch_size=128,
            epochs=epochs,
            verbose=0,
            validation_data=(tests, mnist.test_labels),
            callbacks=[clock],
        )
        .history
    )
    keras.backend.clear_session()
    names = {
        "train_loss": "loss",
        "train_accuracy": "accuracy",
        "test_loss": "val_loss",
        "test_accuracy": "val_accuracy",
    }
    return {
        "rows": [
            {
                "activation": act,
                "seed": seed,
                "epoch": epoch + 1,
                **{ours: float(history[theirs][epoch]) for ours, theirs in names.items()},
                "seconds": clock.seconds[epoch],
            }
            for epoch in range(epochs)
        ]
    }


if __name__ == "__main__":
    if "GRADFLOW_THREADS" in os.environ:
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["GRADFLOW_THREADS"]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    serve(VERSIONS, answer)
