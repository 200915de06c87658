"""The gallery shows the picture of every command, small, and the commands that make them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib.image import imread

from gradflow.report.figures import FIGURES

ROOT = Path(__file__).parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "make_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_gallery = script()


def test_the_page_shows_the_commands_that_make_its_pictures() -> None:
    assert make_gallery.PAGE.read_text(encoding="utf-8") == make_gallery.page()
    names = [shown.name for shown in make_gallery.GALLERY]
    assert sorted(path.stem for path in make_gallery.IMAGES.iterdir()) == sorted(set(names))


def test_every_command_with_a_figure_is_in_it() -> None:
    commands = {shown.command.split()[0] for shown in make_gallery.GALLERY}
    assert {name.partition("-")[0] for name in FIGURES} <= commands


@pytest.mark.parametrize("shown", make_gallery.GALLERY, ids=lambda shown: shown.name)
def test_pictures_are_small_and_as_wide_as_the_page(shown) -> None:  # type: ignore[no-untyped-def]
    path = make_gallery.IMAGES / f"{shown.name}.png"
    assert path.stat().st_size <= 60_000
    assert imread(path).shape[1] == make_gallery.WIDTH
