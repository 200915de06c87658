"""Values of options that are the same for several experiments. Standard library only.

A new value is one entry; help and completion follow. Registries with entries of their own are
named by their address, ``module:attribute``, and imported when they are asked for.
"""

from __future__ import annotations

ACTIVATIONS = "gradflow.activations:every"
INITIALIZERS = "gradflow.networks.initialization:INITIALIZERS"
ARCHITECTURES = "gradflow.configs.architectures:ARCHITECTURES"
LOSSES = "gradflow.networks.losses:LOSSES"
OPTIMIZERS = "gradflow.training.optimizers:OPTIMIZERS"

#: What help names of them, since it is shown before they are imported; a test compares.
ACTIVATION_NAMES = (
    *("sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu", "gelu-erf", "tanh", "softplus"),
    *("silu", "mish", "softsign", "hardtanh", "relu6", "identity", "celu", "hardswish"),
    *("hardsigmoid", "quick-gelu", "logsigmoid"),
)
INITIALIZER_NAMES = (
    *("default", "xavier-normal", "xavier-uniform", "he-normal", "he-uniform", "lecun-normal"),
    *("lecun-uniform", "orthogonal"),
)
OPTIMIZER_NAMES = (
    *("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam"),
    *("asgd", "rprop", "adafactor"),
)

#: Number formats of a network, by torch's names.
DTYPES = ("float32", "float64", "float16", "bfloat16")
#: How products are computed while training.
PRECISIONS = ("fp32", "tf32", "bf16")
#: Kinds of device; ``cuda:N`` is one of several GPUs.
DEVICES = ("auto", "cpu", "cuda", "mps")
#: Data sets of images; a folder can be named instead.
IMAGES = ("mnist",)
#: What a network can be measured with.
DATA = ("gaussian", *IMAGES)
NORMS = ("none", "batch", "layer", "rms")
NORM_POSITIONS = {
    "pre": "before the activation, or the residual branch",
    "post": "after it, or after the sum",
}
#: What is done with a gradient that is not finite.
NONFINITE = {"refuse": "the training ends", "zero": "it is set to 0"}


def at(name: str) -> str:
    """Return the address of a registry in this module."""
    return f"{__name__}:{name}"
