"""Attention at initialisation (Xiong et al. 2020; Noci et al. 2022)."""

from __future__ import annotations

import functools
import statistics
from dataclasses import replace

import torch
from published.claims import Claim
from published.networks import CPU, hidden, mean_square, random_inputs
from torch import Tensor

from gradflow import NetworkConfig
from gradflow.diagnosis.builtin import built_in
from gradflow.diagnosis.run import measured
from gradflow.networks.architectures import build

TOKENS, WIDTH = 16, 64


def transformer(depth: int, position: str, seed: int = 0, seeds: int = 1) -> NetworkConfig:
    """Return a transformer of layer normalisation, as Xiong et al. initialise it."""
    return NetworkConfig(
        arch="transformer",
        depth=depth,
        width=WIDTH,
        act="relu",
        init="lecun-normal",
        norm_position=position,
        batch_size=4,
        seed=seed,
        seeds=seeds,
        device="cpu",
    )


def hidden_state(blocks: int, position: str) -> list[float]:
    """Return the mean square of the residual stream after so many blocks."""
    config = transformer(blocks, position, seeds=4)
    body = hidden(config, TOKENS * WIDTH)[: 2 + blocks]  # without the last norm and the pool
    return mean_square(body(random_inputs(config, 8, TOKENS * WIDTH)))


def last_delta_ratio(position: str) -> list[float]:
    """Return the rms of δ at the last block's output in 12 blocks over that in 3."""
    ratios = []
    for seed in (0, 100, 200):
        deep, shallow = (last_delta(transformer(n, position, seed, 6)) for n in (12, 3))
        ratios.append(10 ** (deep - shallow))
    return ratios


def last_delta(config: NetworkConfig) -> float:
    """Return log₁₀ of δ's rms at the output of the last block, the median over the seeds."""
    row = measured(built_in(config, predicted=False)).records[-2]
    assert row.name.endswith("dense.body.down")
    assert row.delta_log10_rms is not None
    return row.delta_log10_rms


def gradient_of(part: str, alike: bool) -> list[float]:
    """Return ‖∂C/∂W‖ of queries or keys over that of values, for tokens that are all the same."""
    config = transformer(1, "pre")
    model = build(config, TOKENS * WIDTH, 10, torch.float64, CPU)
    inputs = random_inputs(config, 8, TOKENS * WIDTH)
    if alike:
        inputs = inputs[..., :WIDTH].repeat(1, 1, TOKENS)
    model(inputs).square().sum().backward()
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    asked, value = (
        statistics.fmean(n for name, n in norms.items() if name.endswith(f"{one}.weight"))
        for one in (part, "value")
    )
    return [asked / value]


def uniform(blocks: int) -> tuple[Tensor, Tensor]:
    """Return the tokens before and after so many linear blocks without normalisation.

    Their queries are 0, so that every token attends to all alike.
    """
    linear = {"norm": "none", "act": "identity", "bias_variance": 0.0}
    config = replace(transformer(blocks, "pre", seeds=40), **linear)
    body = hidden(config, TOKENS * WIDTH)
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if name.endswith("query.weight"):
                parameter.zero_()
        before = body[:2](random_inputs(config, 64, TOKENS * WIDTH))
        return before, body[2 : 2 + blocks](before)


def inner_products(blocks: int) -> list[float]:
    """Return by what factor the sum of all inner products of two tokens grows."""
    sums = [mean_square(tokens.sum(2)) for tokens in uniform(blocks)]
    return [after / before for before, after in zip(*sums, strict=True)]


def squares(blocks: int) -> list[float]:
    """Return by what factor the sum of the tokens' squares grows."""
    return [
        after / before for before, after in zip(*map(mean_square, uniform(blocks)), strict=True)
    ]


def squares_by_theory(blocks: int) -> float:
    """Return it for tokens that begin uncorrelated: attention adds to a square that of the mean.

    Of T tokens that has a share of 1/T, and doubles at either of the two branches.
    """
    square, mean = 1.0, 1 / TOKENS
    for _ in range(blocks):
        square, mean = 2 * (square + mean), 4 * mean
    return square


CLAIMS = [
    Claim(
        "Xiong et al. 2020, lemma 2",
        "mean square of the stream after 8 pre-norm blocks",
        "1 + ℓ/2 to 1 + 3ℓ/2",
        (5.0, 13.0),
        0.0,
        functools.partial(hidden_state, 8, "pre"),
    ),
    Claim(
        "Xiong et al. 2020, lemma 2",
        "mean square of the stream after 8 post-norm blocks",
        "1 once it is normalised",
        1.0,
        1e-4,  # ε = 1e-5
        functools.partial(hidden_state, 8, "post"),
    ),
    Claim(
        "Xiong et al. 2020, theorem 1",
        "δ at the output of the last of 12 blocks over that of 3, pre-norm",
        "√(1/L), so 1/2",
        # By the stream's mean square under the last norm, for which lemma 2 has bounds.
        (((1 + 3 / 2) / (1 + 36 / 2)) ** 0.5, ((1 + 9 / 2) / (1 + 12 / 2)) ** 0.5),
        0.0,
        functools.partial(last_delta_ratio, "pre"),
    ),
    Claim(
        "Xiong et al. 2020, theorem 1",
        "δ at the output of the last of 12 blocks over that of 3, post-norm",
        "independent of L",
        1.0,
        0.15,
        functools.partial(last_delta_ratio, "post"),
    ),
    *(
        Claim(
            "Noci et al. 2022, abstract",
            f"‖∂C/∂W_{letter}‖/‖∂C/∂W_V‖ for tokens that are all the same",
            "0",
            0.0,
            1e-12,
            functools.partial(gradient_of, part, True),
        )
        for letter, part in (("Q", "query"), ("K", "key"))
    ),
    Claim(
        "Noci et al. 2022",
        "inner products of tokens after 3 linear blocks of uniform attention",
        "(α₁² + 1)^L (α₂² + 1)^L, α = 1",
        4.0**3,
        0.15,  # 40 products of six factors that scatter by some 10 % each
        functools.partial(inner_products, 3),
    ),
    Claim(
        "Noci et al. 2022",
        "squares of tokens after 3 linear blocks of uniform attention",
        "slower than their inner products: they become alike",
        squares_by_theory(3),
        0.1,
        functools.partial(squares, 3),
    ),
]
