"""The article's network in Keras, on TensorFlow."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

VERSIONS = {"keras": keras.__version__, "tensorflow": tf.__version__}


def _activation(act: str) -> Any:
    layers = keras.layers
    if act == "elu":
        return layers.ELU(alpha=0.2)
    if act == "leaky-relu":
        return layers.LeakyReLU(negative_slope=0.2)
    if act == "gelu":
        return layers.Activation(lambda x: keras.activations.gelu(x, approximate=True))
    return layers.Activation(act)


def network(act: str, jit_compile: bool | str = "auto") -> Any:
    """Return the compiled model; SELU with LeCun-normal weights and alpha dropout."""
    layers, selu = keras.layers, act == "selu"
    dropout = layers.AlphaDropout if selu else layers.Dropout
    init = {"kernel_initializer": "lecun_normal"} if selu else {}
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, **init),
            _activation(act),
            layers.Conv2D(64, 3, **init),
            _activation(act),
            layers.MaxPooling2D(2),
            dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, **init),
            _activation(act),
            dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3, epsilon=1e-7, clipvalue=0.5),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    return model
