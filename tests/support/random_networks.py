"""Random fully connected networks, drawn with NumPy: the truth that mean-field theory is about."""

import math

import numpy as np


def drawn(act, weight_variance, bias_variance, widths, networks, seed=0):
    """Return each drawn network's mean z² and δ² per layer, (networks, layers), for one input."""
    rng = np.random.default_rng(seed)
    lengths, deltas = [], []
    for _ in range(networks):
        x = np.ones(widths[0])  # mean square 1
        fan_ins = [widths[0], *widths[:-1]]
        weights = [
            rng.standard_normal((n, m)) * math.sqrt(weight_variance / m)
            for n, m in zip(widths, fan_ins, strict=True)
        ]
        z = []
        for weight in weights:
            bias = rng.standard_normal(len(weight)) * math.sqrt(bias_variance)
            z.append(weight @ (act(z[-1]) if z else x) + bias)
        delta = [rng.standard_normal(widths[-1])]
        for weight, before in zip(weights[:0:-1], z[-2::-1], strict=True):
            delta.append(act.derivative(before) * (weight.T @ delta[-1]))
        lengths.append([np.mean(v**2) for v in z])
        deltas.append([np.mean(v**2) for v in reversed(delta)])
    return np.array(lengths), np.array(deltas)
