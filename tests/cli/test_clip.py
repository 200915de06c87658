"""The command line of `clip`: what it trains where little is said, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
SMALL = ("--width", "8", "--batch-size", "4", "--device", "cpu")


def config_of(document: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = document["meta"]["config"]
    return config


def test_with_no_option_it_trains_a_deep_network_with_too_large_weights(run_json: Run) -> None:
    document = run_json("clip", "--steps", "2")
    assert document["task"] == "deep-mlp"
    assert config_of(document)["gain"] == 1.5
    assert document["meta"]["seeds"] == [0, 1, 2, 3, 4]
    assert [row["policy"] for row in document["rows"]] == ["none", "value", "norm"]


def test_a_network_option_means_the_network_that_diagnose_would_measure(run_json: Run) -> None:
    document = run_json("clip", "--depth", "2", *SMALL, "--steps", "1")
    config = config_of(document)
    assert document["task"] == "mlp"
    assert (config["gain"], config["init"], config["seeds"]) == (1.0, "default", 1)


def test_what_is_given_counts_even_where_it_is_the_default(run_json: Run) -> None:
    given = ("--task", "adding", *SMALL, "--lr", "0.01", "--seeds", "1", "--steps", "1")
    config = config_of(run_json("clip", *given))
    assert (config["lr"], config["seeds"], config["arch"]) == (0.01, 1, "rnn")
    assert config_of(run_json("clip", "--task", "adding", *SMALL, "--steps", "0"))["lr"] == 0.1


def test_a_suggestion_keeps_the_contracts_fields(run_json: Run) -> None:
    small = ("--task", "copy", *SMALL, "--seeds", "2", "--steps", "12", "--suggest")
    document = run_json("clip", *small)
    fields = (
        "policy threshold norm_before norm_after cosine clipped_fraction final_loss diverged "
        "engaged_fraction proposal outcome"
    )
    assert set(fields.split()) <= set(document["rows"][0])
    assert document["distribution"][0]["updates"] == 24
    assert sum(row["count"] for row in document["norms"]) == 24


def test_a_divergence_can_fail_a_job(run: Run) -> None:
    exploding = (
        "clip",
        "--depth",
        "4",
        "--init",
        "he-normal",
        "--gain",
        "3",
        "--lr",
        "1",
        "--act",
        "leaky-relu",
        "--width",
        "16",
        "--steps",
        "20",
    )
    assert run(*exploding, "--policy", "none", "--fail-on", "diverged").exit_code == 1
    assert run(*exploding, "--policy", "norm", "--fail-on", "diverged").exit_code == 0


@pytest.mark.parametrize("options", [(), ("--suggest",)])
def test_every_table_and_figure_is_written(options: tuple[str, ...], run: Run) -> None:
    names = ["a.png", "a.csv", "a.md"]
    outputs = [x for name in names for x in ("-o", name)]
    small = ("--task", "copy", *SMALL, "--seeds", "2", "--steps", "10")
    result = run("clip", *small, *options, *outputs)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert sorted(p.name for p in Path().iterdir()) == sorted(names)


BAD = {
    "a misspelt task": (["--task", "ading"], "did you mean adding"),
    "a misspelt policy": (["--policy", "nrom"], "did you mean norm"),
    "a limit that is none": (["--policy", "norm:big"], "got 'big'"),
    "an option that means nothing": (["--task", "adding", "--residual"], "--residual"),
    "a network for a sequence": (["--task", "copy", "--act", "relu"], "does not apply"),
    "a sequence for a network": (["--sequence-length", "9"], "does not apply to task 'deep-mlp'"),
    "too short": (["--task", "copy", "--sequence-length", "4"], "at least 11"),
    "an architecture": (["--task", "adding", "--arch", "gur"], "did you mean gru"),
    "another treatment": (["--nonfinite", "skip"], "known: refuse, zero"),
    "an optimiser": (["--optimizer", "sdg"], "did you mean sgd"),
    "a radius of 0": (["--task", "adding", "--spectral-radius", "0"], "--spectral-radius"),
    "too few steps": (["--suggest", "--steps", "3"], "at least 10"),
    "a batch too large": (
        ["--task", "mnist-rows", "--batch-size", "99999"],
        "more than the 60000 images",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(case: str, refused: Run) -> None:
    arguments, says = BAD[case]
    assert says in refused("clip", *arguments, "-o", "out.png")
    assert list(Path().iterdir()) == []
