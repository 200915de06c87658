"""What was probably meant by a word where no argument goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("typed", "said", "hint"),
    [
        ("diagnose sigmoid", "(sigmoid)", "did you mean --act sigmoid?"),
        ("eval sigmoid 1e-3", "(1e-3)", "did you mean --at 1e-3?"),
        ("eval sigmoid x", "(x)", "see gradflow eval --help"),
        ("theory relu tanh", "(tanh)", "see gradflow theory --help"),
        ("benchmark --act elu relu", "'relu'", "--act elu,relu"),
        ("benchmark some/folder", "'some/folder'", "--from some/folder reads a run"),
        ("plot gelu -o", "'-o' requires", "see gradflow plot --help"),
        ("--act sigmoid", "--act", "an option comes after its command"),
        ("help", "'help'", "gradflow --help"),
        ("diagnose --depth ten", "--depth must be a whole number, got 'ten'", "--help"),
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
    assert "extra argument" in done.stderr
