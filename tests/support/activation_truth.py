"""What the activations are held against: the textbook forms, at 80 to 400 digits."""

import math

import numpy as np
from mpmath import mp

from gradflow.activations import ACTIVATIONS, activation

MOST_DIGITS = 400  # 1 − tanh² at its smallest takes 324, and 50 to spare
SMALLEST_NORMAL = 2.0**-1022
SELU_ALPHA = 16732632423543772848170429916717  # times 10⁻³¹
SELU_SCALE = 10507009873554804934193349852946

WITH_OTHER_ALPHAS = [
    *ACTIVATIONS.values(),
    *(activation("elu", alpha=a) for a in (-0.5, 0.0, 1.0, 1e6)),
    *(activation("leaky-relu", alpha=a) for a in (-1.0, 0.0, 1.0, 3.0)),
    *(activation("celu", alpha=a) for a in (1e-300, 0.3, 1e20)),
]
WITH_ZERO_SLOPE = ["silu", "gelu", "gelu-erf", "mish", "quick-gelu", "hardswish"]


def label(act):
    return " ".join([act.name, *(f"{k}={v:g}" for k, v in act.parameters.items())])


# --- the textbook, for m = math (float64) or m = mp -------------------------------------------


def sigma(m, x):
    return 1 / (1 + m.exp(-x))


def gelu_u(m, x):
    return m.sqrt(2 / m.pi) * (x + 44715 * x**3 / 10**6)


def gelu_slope(m, x):
    t, du = m.tanh(gelu_u(m, x)), m.sqrt(2 / m.pi) * (1 + 3 * 44715 * x**2 / 10**6)
    return (1 + t) / 2 + x / 2 * (1 - t**2) * du


def normal_cdf(m, x):
    return (1 + m.erf(x / m.sqrt(2))) / 2


def mish_gate(m, x):
    return m.tanh(m.log(1 + m.exp(x)))


def mish_slope(m, x):
    return mish_gate(m, x) + x * (1 - mish_gate(m, x) ** 2) * sigma(m, x)


def silu_slope(m, x):
    return sigma(m, x) * (1 + x * (1 - sigma(m, x)))


def ramp(x, low, high):
    return min(max(x, low), high)


TEXTBOOK = {  # name: f(m, x, alpha), f′(m, x, alpha)
    "sigmoid": (lambda m, x, a: sigma(m, x), lambda m, x, a: sigma(m, x) * (1 - sigma(m, x))),
    "relu": (lambda m, x, a: max(x, 0), lambda m, x, a: x > 0),
    "elu": (
        lambda m, x, a: x if x > 0 else a * (m.exp(x) - 1),
        lambda m, x, a: 1 if x > 0 else a * m.exp(x),
    ),
    "leaky-relu": (lambda m, x, a: x if x > 0 else a * x, lambda m, x, a: 1 if x > 0 else a),
    "selu": (
        lambda m, x, a: (
            SELU_SCALE * (x if x > 0 else SELU_ALPHA * (m.exp(x) - 1) / 10**31) / 10**31
        ),
        lambda m, x, a: (
            SELU_SCALE * (m.mpf(1) if x > 0 else SELU_ALPHA * m.exp(x) / 10**31) / 10**31
        ),
    ),
    "gelu": (lambda m, x, a: x / 2 * (1 + m.tanh(gelu_u(m, x))), lambda m, x, a: gelu_slope(m, x)),
    "gelu-erf": (
        lambda m, x, a: x * normal_cdf(m, x),
        lambda m, x, a: normal_cdf(m, x) + x * m.exp(-(x**2) / 2) / m.sqrt(2 * m.pi),
    ),
    "tanh": (lambda m, x, a: m.tanh(x), lambda m, x, a: 1 - m.tanh(x) ** 2),
    "softplus": (lambda m, x, a: m.log(1 + m.exp(x)), lambda m, x, a: sigma(m, x)),
    "silu": (lambda m, x, a: x * sigma(m, x), lambda m, x, a: silu_slope(m, x)),
    "mish": (lambda m, x, a: x * mish_gate(m, x), lambda m, x, a: mish_slope(m, x)),
    "softsign": (lambda m, x, a: x / (1 + abs(x)), lambda m, x, a: 1 / (1 + abs(x)) ** 2),
    "hardtanh": (lambda m, x, a: ramp(x, -1, 1), lambda m, x, a: -1 < x <= 1),
    "relu6": (lambda m, x, a: ramp(x, 0, 6), lambda m, x, a: 0 < x <= 6),
    "identity": (lambda m, x, a: x, lambda m, x, a: 1),
    "celu": (
        lambda m, x, a: x if x > 0 else a * (m.exp(x / a) - 1),
        lambda m, x, a: 1 if x > 0 else m.exp(x / a),
    ),
    "hardswish": (
        lambda m, x, a: x * ramp(x + 3, 0, 6) / 6,
        lambda m, x, a: (2 * x + 3) / 6 if -3 < x <= 3 else x > 3,
    ),
    "hardsigmoid": (
        lambda m, x, a: ramp(x + 3, 0, 6) / 6,
        lambda m, x, a: mp.mpf(1) / 6 if -3 < x <= 3 else 0,
    ),
    "quick-gelu": (
        lambda m, x, a: x * sigma(m, 1702 * x / 1000),
        lambda m, x, a: silu_slope(m, 1702 * x / 1000),
    ),
    "logsigmoid": (lambda m, x, a: m.log(sigma(m, x)), lambda m, x, a: 1 - sigma(m, x)),
}


def truth(act, order, x, near):
    """f (order 0) or f′ (order 1) at x, to at least 50 digits where it is of the size of `near`."""
    digits = 80 - math.log10(abs(near)) if near and math.isfinite(near) else MOST_DIGITS
    with mp.workdps(max(80, int(digits))):
        alpha = act.parameters.get("alpha")
        return mp.mpf(TEXTBOOK[act.name][order](mp, mp.mpf(float(x)), alpha))


def values(act, order, points):
    return (act.derivative if order else act)(points).tolist()


# --- the two checks --------------------------------------------------------------------------


def ulps(got, truth):
    """|got − truth| in units of the truth's last place, 2⁻¹⁰⁷⁴ where it is subnormal or 0."""
    if math.isinf(got):
        return 0.0 if abs(truth) >= mp.ldexp(2**54 - 1, 970) and got * truth > 0 else math.inf
    exponent = max(mp.frexp(truth)[1] - 53, -1074) if truth else -1074
    return float(abs(got - truth) / mp.ldexp(1, exponent))


def excess(got, truth, floor=0.0):
    """The error as a multiple of what is allowed: 12 digits, or `floor` beside a zero of f′."""
    if abs(truth) < SMALLEST_NORMAL:
        return float(abs(got - truth) / SMALLEST_NORMAL)
    return float(abs(got - truth) / max(mp.mpf("1e-12") * abs(truth), floor))


def worst(error, act, order, points, *floor):
    got = values(act, order, points)
    pairs = ((g, truth(act, order, x, near=g)) for x, g in zip(points, got, strict=True))
    return max(error(g, true, *floor) for g, true in pairs)


def neighbours(x, count):
    return [x + k * np.spacing(x) for k in range(-count, count + 1)]


def doubles(rng, count):
    """Doubles of every size, dense where exp underflows, where 1 ± e⁻ˣ rounds, and about 0."""
    sizes = 10.0 ** rng.uniform(-323, 308, count)
    edges = [18.7, 36.7, 37.4, 354.0, 372.5, 708.4, 744.4, 745.13, 1.797e308]
    beside = np.concatenate([neighbours(edge, 5) for edge in edges])
    near = np.add.outer(rng.normal(0, 0.5, count // 20), edges[:-1]).ravel()
    flat = np.concatenate([rng.uniform(0, top, count) for top in (1e-3, 1, 4, 40, 750)])
    tiny = [0.0, 5e-324, 1e-323, 2.2250738585072014e-308, 1e-16, np.finfo(float).max]
    positive = np.concatenate([sizes, beside, near, flat, tiny])
    return np.concatenate([positive, -positive])


def within_40(rng, count):
    sizes = 10.0 ** rng.uniform(-307, 1.6, count)
    spread = np.concatenate([rng.uniform(0, top, count) for top in (1e-3, 1, 4, 40)])
    corners = np.concatenate([neighbours(x, 3) for x in (1.0, 3.0, 6.0, 21.0, 37.5)])
    positive = np.concatenate([sizes, spread, corners, [0.0, 40.0]])
    return np.concatenate([positive, -positive])


def zero_of_slope(act):
    with mp.workdps(50):
        return mp.findroot(
            lambda x: TEXTBOOK[act.name][1](mp, x, None), -1.5 if act.name == "hardswish" else -1
        )
