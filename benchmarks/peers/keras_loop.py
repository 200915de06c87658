"""Keras on TensorFlow, the article's own stack, by ``fit`` on all cores."""

from __future__ import annotations

import functools
import time
from typing import Any

import keras
import numpy as np
from keras_model import VERSIONS, network
from protocol import serve

from gradflow.datasets.images import load

compiled = functools.cache(network)


class Clock(keras.callbacks.Callback):
    """Times an epoch from its second batch on, without what comes before and after."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Note the start of the second batch: the first one fills the pipeline."""
        if batch == 1:
            self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Note the end of a batch."""
        if batch >= 1:
            self.seconds = time.perf_counter() - self.start


@functools.cache
def examples() -> tuple[Any, Any]:
    """Return images from 0 to 1 and labels."""
    mnist = load()
    return mnist.train_images[..., None].astype(np.float32) / 255, mnist.train_labels


def answer(acts: list[str], steps: int, jit: bool) -> dict[str, Any]:
    """Take so many steps with each activation; return the seconds of each."""
    images, labels = examples()
    seconds = {}
    for act in acts:
        clock, count = Clock(), 128 * (steps + 1)
        compiled(act, jit).fit(
            images[:count], labels[:count], batch_size=128, verbose=0, callbacks=[clock]
        )
        seconds[act] = clock.seconds
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(VERSIONS, answer)
