"""Attention at initialisation (Xiong et al. 2020; Noci et al. 2022)."""

from __future__ import annotations

import functools
import statistics

import torch
from published.claims import Claim
from published.networks import CPU, hidden, mean_square, random_inputs

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


def gradient_of_queries(alike: bool) -> list[float]:
    """Return ‖∂C/∂W_Q‖ over ‖∂C/∂W_V‖ of one block, for tokens that are all the same, or not."""
    config = transformer(1, "pre")
    model = build(config, TOKENS * WIDTH, 10, torch.float64, CPU)
    inputs = random_inputs(config, 8, TOKENS * WIDTH)
    if alike:
        inputs = inputs[..., :WIDTH].repeat(1, 1, TOKENS)
    model(inputs).square().sum().backward()
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    query, value = (
        statistics.fmean(n for name, n in norms.items() if name.endswith(f"{part}.weight"))
        for part in ("query", "value")
    )
    return [query / value]


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
    Claim(
        "Noci et al. 2022",
        "‖∂C/∂W_Q‖/‖∂C/∂W_V‖ for tokens that are all the same",
        "0",
        0.0,
        1e-12,
        functools.partial(gradient_of_queries, True),
    ),
]
