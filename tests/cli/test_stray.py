"""What was probably meant by a word where no argument goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("typed", "said", "hint"),
    [
        ("diagnose sigmoid", "'sigmoid'", "did you mean --act sigmoid?"),
        ("eval sigmoid 1e-3", "'1e-3'", "did you mean --at 1e-3?"),
        ("eval sigmoid x", "'x'", "see gradflow eval --help"),
        ("theory relu tanh", "'tanh'", "see gradflow theory --help"),
        ("benchmark --act elu relu", "'relu'", "--act elu,relu"),
        ("benchmark some/folder", "'some/folder'", "--from some/folder reads a run"),
        ("plot gelu -o", "-o was given no value", "see gradflow plot --help"),
        ("benchmark relu", "'relu'", "--act relu"),
        ("diagnose train.py", "'train.py'", "--model train.py:NAME, or gradflow watch train.py"),
        ("diagnose --dpeth 5", "there is no option '--dpeth'", "did you mean --depth"),
        ("activations --sort", "there is no option '--sort'", "see gradflow activations --help"),
        ("theory", "ACT is missing", "like gradflow theory tanh"),
        ("sweep --depths 10:50", "'10:50' is not start:stop:step", "like --depths 10:50:4"),
        ("sweep --depths 10-50", "got '10-50'", "like --depths 10:50:4"),
        ("sweep --weight-variances 1..3", "got '1..3'", "like --weight-variances 1:3:1"),
        ("sweep --depths ten", "got 'ten'", "like --depths 64,128"),
        ("--act sigmoid", "--act", "an option comes after its command"),
        ("help", "'help'", "gradflow --help"),
        ("diagnose --depth ten", "--depth must be a whole number, got 'ten'", "--help"),
        ("diagnose --lr 0,01", "got '0,01'", "like 0.01"),
        ("benchmark --target 98%", "got '98%'", "like 0.98"),
        ("benchmark --train-size 10k", "got '10k'", "like 10000"),
        ("eval gelu --at 1,2", "'1,2' is not a number", "--at 1 --at 2"),
        ("eval gelu --at 1,x", "'1,x' is not a number", "give a number"),
        ("train.py", "unknown command 'train.py'", "did you mean gradflow watch train.py?"),
        ("diagnose --gain x", "--gain must be a number, got 'x'", "--help"),
    ],
)
def test_a_stray_word_is_said_with_the_option_that_was_meant(
    refused: Callable[..., str], typed: str, said: str, hint: str
) -> None:
    message = refused(*typed.split())
    assert said in message
    assert hint in message.partition("hint: ")[2]


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_word_is_refused_like_any_other(blank: str, run: Any) -> None:
    done = run("chain", "--slopes", "1", blank)
    assert done.exit_code == 2
    assert "unexpected argument" in done.stderr
