"""What docs/article.md shows of docs/examples/article.py is what that prints."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_table_of_the_article_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "docs" / "examples" / "article.py"
    spec = importlib.util.spec_from_file_location("article", path)
    assert spec is not None
    assert spec.loader is not None
    article = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(article)
    page = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
    for name, table in article.TABLES.items():
        command = f"$ python docs/examples/article.py {name}\n"
        assert command in page
        if name != "price":  # a time
            table()
            assert command + capsys.readouterr().out + "```" in page
