"""Every example of docs/integrations.md runs; those of libraries that are not here are left out."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
#: The examples by the heading that they stand under; the first is what they share.
SECTIONS = {
    section.splitlines()[0]: BLOCK.findall(section)
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)
}
SHARED = next(iter(SECTIONS.values()))
#: What a section needs; TensorBoard's and W&B's last two examples need one each.
NEEDS = {
    "Lightning": "lightning",
    "Hugging Face's Trainer": "transformers",
    "Keras 3 on torch": "keras",
}


def execute(blocks: list[str]) -> dict[str, Any]:
    """Run examples one after the other, after what they share."""
    names: dict[str, Any] = {"__name__": "example"}
    for block in [*SHARED, *blocks]:
        exec(compile(block, "integrations.md", "exec"), names)
    return names


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("section", NEEDS)
def test_a_callback(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(NEEDS[section])
    if section.startswith("Hugging"):  # the folder tests/datasets is not the library
        monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)
    execute(SECTIONS[section])


@pytest.mark.filterwarnings("ignore")
def test_a_run_is_logged() -> None:
    watched, tensorboard, wandb = SECTIONS["TensorBoard, and Weights & Biases"]
    here = {"tensorboard": tensorboard, "wandb": wandb}
    names = execute([watched, *(block for name, block in here.items() if installed(name))])
    assert names["result"].seen == 20
    if installed("tensorboard"):
        assert list(Path("run").iterdir())


def test_a_check_declares_its_codes() -> None:
    from gradflow.findings.codes import CODES

    try:
        names = execute(SECTIONS["Your own activations, checks and policies"])
        assert names["too_deep"].codes == ("too-deep",)
    finally:
        CODES.pop("too-deep", None)


def test_the_fixture(request: pytest.FixtureRequest) -> None:
    import pytest_gradflow

    pytest_gradflow.pytest_configure(request.config)  # if it is not installed
    names = execute(SECTIONS["pytest"])
    fixture = pytest_gradflow.GradientFlow((), lambda *_: None)
    names["test_it_can_learn"](fixture)
    names["test_it_learns"](pytest_gradflow.GradientFlow(("dead", "exploding"), lambda *_: None))


def test_every_example_is_run() -> None:
    run = [*NEEDS, "TensorBoard, and Weights & Biases", "pytest"]
    run.append("Your own activations, checks and policies")
    having = [title for title, blocks in SECTIONS.items() if blocks][1:]
    assert sorted(having) == sorted(run)
