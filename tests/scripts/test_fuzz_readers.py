"""The fuzzer of the readers finds a reader that breaks, and nothing in those that hold."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def fuzz() -> Any:
    sys.path.insert(0, str(SCRIPTS))  # it uses another script
    try:
        spec = importlib.util.spec_from_file_location("fuzz", SCRIPTS / "fuzz_readers.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


def test_damaged_images_are_refused_and_never_misread(fuzz: Any, tmp_path: Path) -> None:
    ends = fuzz.tried(fuzz.image_reader(tmp_path), 300, random.Random(1))
    assert ends["broken"] == 0
    assert ends["refused"] > 100 < ends["refused"] + ends["read"]


def test_what_breaks_is_counted_and_shown(fuzz: Any, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "numbers.json"
    reader = fuzz.Reader({path: b'{"a": 1}\n'}, lambda: 1 / len(path.read_bytes()), ValueError)
    ends = fuzz.tried(reader, 200, random.Random(0))
    assert ends["broken"] > 0
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert path.read_bytes() == b'{"a": 1}\n'


def test_a_value_in_json_is_replaced_by_another(fuzz: Any) -> None:
    lines = b'{"a": {"b": [1, 2]}}\n{"c": 3}\n'
    drawn = random.Random(0)
    texts = {fuzz.changed(lines, drawn) for _ in range(100)}
    assert any(text.startswith(b'{"a"') and b'{"c": 3}' not in text for text in texts)
    assert len(texts) > 50
