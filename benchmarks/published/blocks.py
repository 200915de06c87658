"""Normalisation and shortcuts (Yang et al. 2019; De & Smith 2020; Doshi et al. 2023)."""

from __future__ import annotations

import functools
import math

from published.claims import Claim
from published.networks import hidden, mean_square, random_inputs
from torch import Tensor, nn

from gradflow import NetworkConfig, diagnose

DEPTH, WIDTH = 10, 128
#: σ_w² with which two dense layers around a ReLU keep the variance: σ_w⁴/2 = 1.
KEEPS = math.sqrt(2)


def growth(act: str, examples: int) -> list[float]:
    """Return δ's factor per layer going back, in batch-normalised stacks of 512 units."""
    factors = []
    for seed in range(3):
        config = NetworkConfig(
            depth=DEPTH,
            width=512,
            act=act,
            init="he-normal",
            bias_variance=0.0,
            norm="batch",
            batch_size=examples,
            seed=seed,
            device="cpu",
        )
        rows = diagnose(config).records
        first, last = rows[1].delta_log10_rms, rows[-3].delta_log10_rms
        factors.append(10 ** ((first - last) / (DEPTH - 3)))
    return factors


def residual(norm: str, blocks: int) -> tuple[nn.Sequential, Tensor]:
    """Return so many residual blocks of 40 networks, and what comes in, of variance 1."""
    config = NetworkConfig(
        arch="resmlp",
        depth=blocks,
        width=WIDTH,
        act="relu",
        weight_variance=KEEPS,
        bias_variance=0.0,
        norm=norm,
        seeds=40,
    )
    body = hidden(config, WIDTH)
    return body[1:], body[0](random_inputs(config, 16, WIDTH)) / KEEPS**0.5


def variance(norm: str, blocks: int) -> list[float]:
    """Return the variance after so many residual blocks, relative to that before them."""
    chain, inputs = residual(norm, blocks)
    return mean_square(chain(inputs))


def branch(norm: str, block: int) -> list[float]:
    """Return the rms of the branch of such a block over that of its shortcut."""
    chain, inputs = residual(norm, block)
    shortcut, last = chain[:-1](inputs), chain[-1]
    added = mean_square(last(shortcut) - shortcut)
    return [math.sqrt(a / b) for a, b in zip(added, mean_square(shortcut), strict=True)]


def amplification(blocks: int) -> list[float]:
    """Return δ at the first of so many pre-norm blocks over that at the last, per network."""
    ratios = []
    for seed in range(4):
        config = NetworkConfig(
            arch="resmlp",
            depth=blocks,
            width=256,
            act="relu",
            weight_variance=KEEPS,
            bias_variance=0.0,
            norm="layer",
            batch_size=16,
            seed=seed,
            device="cpu",
        )
        rows = [row for row in diagnose(config).records if row.name.endswith("down")]
        ratios.append(10 ** (rows[0].delta_log10_rms - rows[-1].delta_log10_rms))
    return ratios


def power_law(blocks: int) -> float:
    """Return the same of infinite width: each block adds 1 to the stream's mean square, from √2 on.

    Block k multiplies E δ² by 1 + 1/p, p = √2 + k − 1 being what its normalisation divides by.
    """
    return math.sqrt((KEEPS + blocks) / (KEEPS + 1))


CLAIMS = [
    Claim(
        "Yang et al. 2019, section 3.3",
        "δ's growth per layer with batch norm, ReLU, a batch of 128",
        "√(π/(π−1)) = 1.2112 at large batch",
        math.sqrt(math.pi / (math.pi - 1)),
        0.01,  # batch and width are finite, with terms of 1/128 and 1/512 each
        functools.partial(growth, "relu", 128),
    ),
    Claim(
        "Yang et al. 2019, section 3.3",
        "δ's growth per layer with batch norm, linear layers, a batch of 8",
        "√((B−2)/(B−3))",
        math.sqrt(6 / 5),
        0.02,  # 1/σ² of 512 units has a relative standard deviation of √(2/3)/√512 = 4 % a layer
        functools.partial(growth, "identity", 8),
    ),
    Claim(
        "De & Smith 2020",
        "variance after 6 residual blocks without normalisation",
        "2^ℓ",
        2.0**6,
        0.15,  # 40 products of six factors that scatter by √(5/128) = 0.2 each: 8 %
        functools.partial(variance, "none", 6),
    ),
    Claim(
        "De & Smith 2020",
        "variance after 12 residual blocks with batch norm before the branch",
        "ℓ + 1",
        13.0,
        0.05,  # 40 sums of 12 terms, each of which scatters by 0.2
        functools.partial(variance, "batch", 12),
    ),
    *(
        Claim(
            "De & Smith 2020, abstract",
            f"rms of the branch of block {block} over its shortcut's, {words}",
            published,
            expected,
            0.05,  # 40 networks that scatter by some 10 %
            functools.partial(branch, norm, block),
        )
        for norm, words, block, published, expected in (
            ("none", "no normalisation", 12, "of the same order", 1.0),
            ("batch", "batch norm", 4, "1/√depth, in order", 4**-0.5),
            ("batch", "batch norm", 16, "1/√depth, in order", 16**-0.5),
        )
    ),
    *(
        Claim(
            "Doshi et al. 2023",
            f"δ at the first of {blocks} residual blocks over the last, layer norm pre",
            "a power of the depth",
            power_law(blocks),
            0.05,  # four networks that scatter by some 5 %
            functools.partial(amplification, blocks),
        )
        for blocks in (6, 24)
    ),
]
