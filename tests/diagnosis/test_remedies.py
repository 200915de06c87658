"""Remedies are measured, not only advised."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.remedies import REMEDIES


def test_the_best_remedy_makes_the_network_healthy_and_says_how() -> None:
    result = diagnose(NetworkConfig(device="cpu", act="sigmoid"), remedies=True)
    best = result.remedies[0]
    assert best.verdict == "healthy"
    assert best.options.startswith("--")
    ranks = [(row.verdict != "healthy", row.decades) for row in result.remedies]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("act", ["sigmoid", "relu"])
def test_the_options_do_what_the_table_says(act: str, run_json: Callable[..., Any]) -> None:
    gain = ["--gain", "5", "--init", "he-normal"] if act == "relu" else []
    base = ["diagnose", "--act", act, "--width", "32", "--depth", "8", "--device", "cpu", *gain]
    for row in run_json(*base)["remedies"]:
        if not row["options"].startswith("--"):
            continue  # clipping is another command
        again = run_json(*base, *shlex.split(row["options"]), "--no-remedies")
        assert again["rate"] == pytest.approx(row["rate"], rel=1e-6), row
        assert again["verdict"] == row["verdict"]


def test_a_healthy_network_gets_none() -> None:
    config = NetworkConfig(device="cpu", init="he-normal", width=128)
    assert diagnose(config, remedies=True).remedies == ()


def test_clipping_is_tried_where_it_explodes_and_does_not_change_the_rate() -> None:
    config = NetworkConfig(device="cpu", init="he-normal", gain=5)
    result = diagnose(config, remedies=True)
    (clipping,) = [row for row in result.remedies if row.remedy.startswith("clipping")]
    assert clipping.rate == result.rate
    assert "20 steps" in clipping.options or "diverged" in clipping.options


def test_every_torch_line_is_python() -> None:
    config = NetworkConfig(weight_variance=2.0)
    for name, remedy in REMEDIES.items():
        code = remedy.torch.format(**vars(config)).removesuffix(" before the activation")
        compile(code, name, "exec")


def test_the_shape_of_a_result_with_remedies_survives_its_document() -> None:
    result = diagnose(NetworkConfig(device="cpu", act="sigmoid", depth=8), remedies=True)
    assert type(result).from_dict(result.to_dict()) == result
