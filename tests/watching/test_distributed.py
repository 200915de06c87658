"""Two gloo processes on this machine have the norms of one process on the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import two_processes

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)


@pytest.fixture(scope="module")
def seen_by_both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each of two processes saw, by the kind of parallel training."""
    folder = tmp_path_factory.mktemp("meeting")
    script = Path(two_processes.__file__)
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    texts = [(folder / f"{rank}.json").read_text(encoding="utf-8") for rank in (0, 1)]
    both = [json.loads(text) for text in texts]
    return {kind: [seen[kind] for seen in both] for kind in two_processes.KINDS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", two_processes.KINDS)
def test_two_processes_have_the_norms_of_one(
    kind: str, seen_by_both: dict[str, list[dict[str, Any]]]
) -> None:
    alone = two_processes.watched(two_processes.model(), slice(None))
    assert alone["clip_rate"] == 1
    assert len(seen_by_both[kind]) == 2
    for seen in seen_by_both[kind]:
        assert [r["name"] for r in seen["rows"]] == [r["name"] for r in alone["rows"]]
        for row, expected in zip(seen["history"], alone["history"], strict=True):
            for field in ("gradient_log10_norm", "clipped_log10_norm"):
                # 1e-5 relative, in log₁₀
                assert row[field] == pytest.approx(expected[field], abs=4.3e-6)
            for field in ("weight_norm", "update_ratio"):
                assert row[field] == pytest.approx(
                    expected[field], rel=1e-4 if field[0] == "u" else 1e-5
                )
        for step, expected in zip(seen["steps"], alone["steps"], strict=True):
            assert step["norm_before"] == pytest.approx(expected["norm_before"], rel=1e-5)
            assert step["norm_after"] == pytest.approx(expected["norm_after"], rel=1e-5)
            assert step["clipped"]


def test_a_sharded_model_is_not_diagnosed_but_watched() -> None:
    from torch import nn

    import gradflow
    from gradflow.errors import GradflowError

    class Sharded(nn.Parameter):
        """A parameter of another type, which can be asked for the whole: what tells a DTensor."""

        def full_tensor(self) -> torch.Tensor:
            return self

    model = nn.Linear(2, 2)
    model.weight = Sharded(model.weight.detach())
    with pytest.raises(GradflowError, match=r"sharded \(DTensor\)") as refused:
        gradflow.diagnose(model, torch.randn(3, 2), torch.zeros(3, dtype=torch.long))
    assert "watch" in str(refused.value.hint)
