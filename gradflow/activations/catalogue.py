"""What gradflow knows of each activation, in display order. A new one is one more entry here."""

from __future__ import annotations

import math
from functools import partial

from gradflow.activations import gated, piecewise, smooth
from gradflow.activations.base import Activation
from gradflow.errors import GradflowError

_INF = math.inf


def _elu(alpha: float = 0.2) -> Activation:
    # Clevert et al. (2015), arXiv:1511.07289, equation 15
    return Activation(
        "elu",
        "x if x > 0 else α(eˣ − 1)",
        "1 if x > 0 else α·eˣ",
        partial(piecewise.elu, alpha=alpha),
        partial(piecewise.elu_derivative, alpha=alpha),
        (min(-alpha, 0.0), _INF),
        "ELU",
        brackets="()" if alpha > 0 else "[)",
        parameters={"alpha": alpha},
        kinks=() if alpha == 1 else (0.0,),
        monotonic=alpha >= 0,
        torch_arguments={"alpha": alpha},
        family=_elu,
    )


def _leaky_relu(alpha: float = 0.2) -> Activation:
    # Maas et al. (2013), "Rectifier nonlinearities improve neural network acoustic models"
    return Activation(
        "leaky-relu",
        "x if x > 0 else α·x",
        "1 if x > 0 else α",
        partial(piecewise.leaky_relu, alpha=alpha),
        partial(piecewise.leaky_relu_derivative, alpha=alpha),
        (-_INF if alpha > 0 else 0.0, _INF),
        "LeakyReLU",
        brackets="()" if alpha > 0 else "[)",
        aliases=("lrelu",),
        parameters={"alpha": alpha},
        kinks=() if alpha == 1 else (0.0,),
        monotonic=alpha >= 0,
        torch_arguments={"negative_slope": alpha},
        family=_leaky_relu,
    )


def _celu(alpha: float = 1.0) -> Activation:
    # Barron (2017), arXiv:1704.07483, equation 2
    if alpha <= 0:
        raise GradflowError(f"celu needs alpha > 0, not {alpha:g}", "its formula divides by alpha")
    return Activation(
        "celu",
        "x if x > 0 else α(e^(x/α) − 1)",
        "1 if x > 0 else e^(x/α)",
        partial(piecewise.celu, alpha=alpha),
        partial(piecewise.celu_derivative, alpha=alpha),
        (-alpha, _INF),
        "CELU",
        parameters={"alpha": alpha},
        torch_arguments={"alpha": alpha},
        family=_celu,
    )


ENTRIES = (
    Activation(
        "sigmoid",
        "1 / (1 + e⁻ˣ)",
        "σ(x)·(1 − σ(x))",
        smooth.sigmoid,
        smooth.sigmoid_derivative,
        (0.0, 1.0),
        "Sigmoid",
        aliases=("logistic", "expit"),
    ),
    Activation(
        "relu",
        "max(0, x)",
        "1 if x > 0 else 0",
        piecewise.relu,
        piecewise.relu_derivative,
        (0.0, _INF),
        "ReLU",
        brackets="[)",
        aliases=("rectifier",),
        kinks=(0.0,),
    ),
    _elu(),
    _leaky_relu(),
    Activation(
        "selu",
        "λx if x > 0 else λα(eˣ − 1)",
        "λ if x > 0 else λα·eˣ",
        piecewise.selu,
        piecewise.selu_derivative,
        (-piecewise.SELU_SCALE_ALPHA, _INF),
        "SELU",
        kinks=(0.0,),
    ),
    Activation(
        "gelu",
        "½x(1 + tanh u), u = √(2/π)(x + 0.044715x³)",
        "½(1 + tanh u) + ½x·u′·(1 − tanh² u)",
        gated.gelu,
        gated.gelu_derivative,
        (-0.17004075057125406, _INF),
        "GELU",
        brackets="[)",
        aliases=("gelu-tanh", "gelu-new"),
        monotonic=False,
        torch_arguments={"approximate": "tanh"},
    ),
    Activation(
        "gelu-erf",
        "x·Φ(x) = ½x(1 + erf(x/√2))",
        "Φ(x) + x·φ(x)",
        gated.gelu_erf,
        gated.gelu_erf_derivative,
        (-0.16997120747990366, _INF),
        "GELU",
        brackets="[)",
        aliases=("gelu-exact",),
        monotonic=False,
    ),
    Activation(
        "tanh",
        "(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)",
        "1 − tanh²(x)",
        smooth.tanh,
        smooth.tanh_derivative,
        (-1.0, 1.0),
        "Tanh",
    ),
    Activation(
        "softplus",
        "ln(1 + eˣ)",
        "σ(x)",
        smooth.softplus,
        smooth.sigmoid,
        (0.0, _INF),
        "Softplus",
        torch_arguments={"threshold": 40.0},  # torch's 20 drops e⁻²⁰, which float64 still sees
    ),
    Activation(
        "silu",
        "x·σ(x)",
        "σ(x)·(1 + x·(1 − σ(x)))",
        gated.silu,
        gated.silu_derivative,
        (-0.2784645427610738, _INF),
        "SiLU",
        brackets="[)",
        aliases=("swish",),
        monotonic=False,
    ),
    Activation(
        "mish",
        "x·tanh(ln(1 + eˣ))",
        "t + x·σ(x)·(1 − t²), t = tanh(ln(1 + eˣ))",
        gated.mish,
        gated.mish_derivative,
        (-0.30884341301725043, _INF),
        "Mish",
        brackets="[)",
        monotonic=False,
    ),
    Activation(
        "softsign",
        "x / (1 + |x|)",
        "1 / (1 + |x|)²",
        smooth.softsign,
        smooth.softsign_derivative,
        (-1.0, 1.0),
        "Softsign",
    ),
    Activation(
        "hardtanh",
        "max(−1, min(1, x))",
        "1 if −1 < x ≤ 1 else 0",
        piecewise.hardtanh,
        piecewise.hardtanh_derivative,
        (-1.0, 1.0),
        "Hardtanh",
        brackets="[]",
        kinks=(-1.0, 1.0),
    ),
    Activation(
        "relu6",
        "min(max(0, x), 6)",
        "1 if 0 < x ≤ 6 else 0",
        piecewise.relu6,
        piecewise.relu6_derivative,
        (0.0, 6.0),
        "ReLU6",
        brackets="[]",
        kinks=(0.0, 6.0),
    ),
    Activation(
        "identity",
        "x",
        "1",
        piecewise.identity,
        piecewise.identity_derivative,
        (-_INF, _INF),
        "Identity",
        aliases=("linear", "none"),
    ),
    _celu(),
    Activation(
        "hardswish",
        "x·min(max(0, x + 3), 6) / 6",
        "0 if x ≤ −3, (2x + 3)/6 if x ≤ 3, else 1",
        piecewise.hardswish,
        piecewise.hardswish_derivative,
        (-0.375, _INF),
        "Hardswish",
        brackets="[)",
        kinks=(-3.0, 3.0),
        monotonic=False,
    ),
    Activation(
        "hardsigmoid",
        "min(max(0, x + 3), 6) / 6",
        "1/6 if −3 < x ≤ 3 else 0",
        piecewise.hardsigmoid,
        piecewise.hardsigmoid_derivative,
        (0.0, 1.0),
        "Hardsigmoid",
        brackets="[]",
        kinks=(-3.0, 3.0),
    ),
    Activation(
        "quick-gelu",
        "x·σ(1.702x)",
        "σ(z)·(1 + z·(1 − σ(z))), z = 1.702x",
        gated.quick_gelu,
        gated.quick_gelu_derivative,
        (-0.16361018963635357, _INF),
        "QuickGELU",
        brackets="[)",
        aliases=("gelu-sigmoid",),
        monotonic=False,
    ),
    Activation(
        "logsigmoid",
        "−ln(1 + e⁻ˣ)",
        "1 − σ(x)",
        smooth.logsigmoid,
        smooth.logsigmoid_derivative,
        (-_INF, 0.0),
        "LogSigmoid",
    ),
)
