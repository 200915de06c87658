"""Every script in benchmarks/ runs: briefly, with sizes that say nothing but that it does."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
#: Run below; the others need packages or minutes, and are asked for their help alone.
RUN = {
    "calibration_families",
    "calibration_families_fit",
    "calibration_fit",
    "calibration_train",
    "calibration_trials",
    "diagnose_cost",
    "gpu",
    "learning_rates",
    "loop_thresholds",
    "memory",
    "printing",
    "speedup",
    "step_cost",
    "suggest_grid",
    "sweep_throughput",
    "watch_overhead",
}


@pytest.fixture(autouse=True)
def _in_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: None)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def run(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in RUN))
def test_it_says_how_it_is_called(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    if "argparse" not in text:
        assert f"python benchmarks/{name}.py" in text
        return
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_printing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("printing")
    monkeypatch.setattr(module, "ROWS", (3,))
    run(monkeypatch, module)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 2


def test_watch_overhead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("watch_overhead")
    for name, value in {"SIZES": {8: 2}, "FIRST": 1, "LATER": 1}.items():
        monkeypatch.setattr(module, name, value)
    run(monkeypatch, module, "SGD")
    assert "and updates, as by default" in capsys.readouterr().out


def test_diagnose_cost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("diagnose_cost")
    monkeypatch.setattr(module, "ROUNDS", 1)
    module.peak(1)
    assert float(capsys.readouterr().out) > 1


def test_step_cost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("step_cost")
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module.processes, "keep_freed_memory", lambda: None)
    run(monkeypatch, module, "--ops", "relu")
    assert "convolution" in capsys.readouterr().out


def test_sweep_throughput(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("sweep_throughput")
    small = ("--rounds", 1, "--every", 40, "--widths", 8, "--depths", 2)
    run(monkeypatch, module, *small)
    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(float(line.split()[-1]) < 1e-5 for line in lines)


def test_speedup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("speedup")
    workers: list[int] = []

    def measure(size: int, own: int) -> Any:
        workers.append(own)
        return real(size, 1)  # on one worker: processes have tests of their own

    real, _ = module.MEASURED["sweep"]
    monkeypatch.setitem(module.MEASURED, "sweep", (measure, 3))
    run(monkeypatch, module, "sweep", "--rounds", 2)
    assert workers == [1, 2, 1, 2]
    assert "sweep: two workers are " in capsys.readouterr().out


def test_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("memory")
    wanted: list[list[str]] = []

    def peaks(command: list[str], every: float) -> Any:
        wanted.append(command)
        return real([sys.executable, "-c", "pass"], every)

    real = module.peaks
    monkeypatch.setattr(module, "peaks", peaks)
    run(monkeypatch, module, "--every", "0.01", "--", "--epochs", "1")
    assert wanted[0][-2:] == ["--epochs", "1"]
    assert "peak PSS, each page once" in capsys.readouterr().out


def test_suggest_grid(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("suggest_grid")
    monkeypatch.setattr(module, "SEEDS", 1)
    monkeypatch.setattr(module, "GRID", module.GRID[4:6])
    options = {"depth": 2, "width": 8, "batch_size": 8}
    monkeypatch.setattr(module, "CASES", (module.Case("deep-mlp", options),))
    run(monkeypatch, module)
    assert "of 1 tasks" in capsys.readouterr().out


def test_loop_thresholds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("loop_thresholds")
    monkeypatch.setattr(module, "STEPS", 16)
    monkeypatch.setattr(module, "KINDS", {"never zeroed": module.KINDS["never zeroed"]})
    run(monkeypatch, module, "--runs", 1)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("3 healthy runs: ")
    assert [line.split("  ")[0] for line in lines] == [m.threshold for m in module.MEASURES]
    (stale,) = [line for line in lines if line.startswith("stale ")]
    assert "healthy to 0 " in stale
    assert "from 1 " in stale


def test_gpu_says_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module.main([]) == 2
    assert capsys.readouterr().err == "error: no CUDA device here\n"


def test_calibration_train_and_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, fit = script("calibration_train"), script("calibration_fit")
    monkeypatch.setattr(train, "STEPS", 1)
    monkeypatch.setattr(train, "BATCH", 8)
    data = train.load()
    few = dataclasses.replace(
        data, train_images=data.train_images[:64], train_labels=data.train_labels[:64]
    )
    monkeypatch.setattr(train, "load", lambda: few)
    run(monkeypatch, train, "--seed", 1, "--count", 1, "--out", tmp_path / "one.jsonl")
    (drawn,) = (tmp_path / "one.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(json.loads(drawn)["accuracies"]) == len(train.LEARNING_RATES)
    for half in (1, 2):
        name = f"calibration-{half}.jsonl"
        lines = (FOLDER / "results" / name).read_text(encoding="utf-8").splitlines()
        (tmp_path / name).write_text("\n".join(_few(lines)), encoding="utf-8")
    run(monkeypatch, fit, "--folder", tmp_path, "--figure", tmp_path / "roc.png")
    assert "verdict 'healthy' as it stands, half 2" in capsys.readouterr().out
    assert (tmp_path / "roc.png").stat().st_size > 1000


def _few(lines: list[str]) -> list[str]:
    """Shallow networks, two that learn and two that do not."""
    records = [json.loads(line) for line in lines]
    small = [(r, line) for r, line in zip(records, lines, strict=True) if r["config"]["depth"] < 12]
    learns = [line for r, line in small if max(r["accuracies"]) > 0.5]
    fails = [line for r, line in small if max(r["accuracies"]) <= 0.5]
    return [*learns[:2], *fails[:2]]


_RECORDS = FOLDER / "results" / "families.jsonl"


def families() -> list[str]:
    """Those that the script's own table names, without importing it before the path is set."""
    text = (FOLDER / "families" / "networks.py").read_text(encoding="utf-8")
    listed = text.split("for f in (")[1].split("    )\n}")[0]
    return [word.strip(" *()\n") for word in listed.split(",") if word.strip(" *()\n")]


@pytest.mark.parametrize(
    "family", [*families(), "vgg", "convolutional", "encoder", "cells", "friedman"]
)
def test_a_drawn_network_is_the_same_again_and_trains(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("calibration_families")
    monkeypatch.setattr(module, "RATES", {"sgd": (1e-3,)})
    monkeypatch.setattr(module, "CHECK", 8)
    one, two = (module.record(module.Job(family, 3, 10)) for _ in range(2))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert len(one["runs"]["sgd"]["0.001"]) in (4, 2, 3)  # fewer where the loss is no number


def test_quick_training_ends_with_the_first_rate_that_learns() -> None:
    module = script("calibration_families")
    job = module.Job("regressor", 3, 4)
    assert list(module.quickly(job, "adam", math.inf)) == ["0.001"]
    assert set(module.quickly(job, "adam", -math.inf)) == {"0.0001", "0.001", "0.01"}


def test_calibration_families_writes_a_line_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, out = script("calibration_families"), tmp_path / "f.jsonl"
    options: list[Any] = ["--families", "regressor", "--count", 2, "--steps", 10, "--jobs", 1]
    run(monkeypatch, module, *options, "--seed", 5, "--out", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["seed"] for row in rows) == [50_000, 50_001]


def test_calibration_families_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("calibration_families_fit")
    lines = (FOLDER / "results" / "families.jsonl").read_text(encoding="utf-8").splitlines()
    drawn = [(json.loads(line), line) for line in lines]
    mlps = [(r, line) for r, line in drawn if r["family"] == "mlp" and r["options"]["depth"] < 12]
    few = [
        line
        for half in (0, 1)
        for learns in (True, False)
        for line in [
            line
            for r, line in mlps
            if r["seed"] % 2 == half and any(r["learns"].values()) == learns
        ][:2]
    ]
    (tmp_path / "few.jsonl").write_text("\n".join(few), encoding="utf-8")
    options = ["--records", tmp_path / "few.jsonl", "--figure", tmp_path / "roc.png", "--list"]
    run(monkeypatch, module, *options)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{len(few)} networks; chosen on half A")
    assert all(f"{o}: balanced accuracy" in printed for o in ("either", "adam", "sgd"))
    assert (tmp_path / "roc.png").stat().st_size > 1000


def test_calibration_trials_trains_copies_of_what_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, out = script("calibration_trials"), tmp_path / "trials.jsonl"
    monkeypatch.setattr(module, "STEPS", 20)
    wanted = ("mlp", 70_000)  # GELU, batch normalisation: it learns within 20 steps
    (learns,) = (r for r in module.outcomes(_RECORDS) if (r["family"], r["seed"]) == wanted)
    (tmp_path / "one.jsonl").write_text(json.dumps(learns), encoding="utf-8")
    options = ["--records", tmp_path / "one.jsonl", "--part", "rest", "--out", out]
    run(monkeypatch, module, *options)
    (row,) = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert row["verdict"] == "healthy"
    assert 2.1 < row["constant"] < math.log(10)  # of 64 labels, not equally many of each digit
    assert min(run["same"] for run in row["runs"].values()) < 0.6 * row["constant"]
    assert not module.with_trial(row)


def test_calibration_trials_counts_by_its_rules(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("calibration_trials")
    # (verdict, left of the constant's loss on the batch, on fresh examples) -> what each rule says
    cases = {
        ("healthy", 0.5, 1.5): (False, False, False),
        ("healthy", 0.99, 1.0): (False, True, True),
        ("vanishing", 0.5, 1.5): (True, False, False),
        ("vanishing", 0.95, 1.0): (True, True, True),
        ("exploding", 0.1, 50.0): (True, False, True),
    }
    rows = []
    for (verdict, same, fresh), said in cases.items():
        runs = {
            "0.01": {"same": None, "fresh": None},
            "0.001": {"same": 2 * same, "fresh": 2 * fresh},
        }
        row = {"part": "E", "family": "mlp", "left": 0.5, "constant": 2.0, "verdict": verdict}
        rows.append({**row, "runs": runs})
        assert tuple(rule(rows[-1]) for rule in module.RULES.values()) == said
    flow = {**rows[2], "constant": None}
    assert all(rule(flow) for rule in module.RULES.values())
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    run(monkeypatch, module, "--table", tmp_path / "rows.jsonl")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    wrong = (f"{1 - n / 5:.3f} ({n} of 5, 0 of 0)" for n in (3, 2, 3))
    assert f"E {' '.join(wrong)}" in lines
    run(monkeypatch, module, "--table")
    assert "rest          0.874 (4 of 108, 11 of 51)" in capsys.readouterr().out


def test_learning_rates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = script("learning_rates")
    row = module.chosen("sgd", 1, 1)[0]
    monkeypatch.setattr(module, "trained", lambda *_: [row["runs"]["sgd"]["0.01"][-1]])
    found = module.record(row, "sgd", "gradflow lr")
    assert 1e-4 < found["rate"] < 1
    assert found["loss"] == row["runs"]["sgd"]["0.01"][-1]
    out = tmp_path / "rates.jsonl"
    best = min(module.last(run) for run in row["runs"]["sgd"].values())
    out.write_text(json.dumps({**found, "loss": best}) + "\n")
    run(monkeypatch, module, "--table", out)
    assert "| sgd | gradflow lr | 1 | 0.000 | 0 |" in capsys.readouterr().out
    called = list(module._called(row, "sgd"))
    assert len(called) == len(row["runs"]["sgd"])
    assert not any(far for far, near, _ in called if near)


def test_repairs_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("repairs")
    losses = {"mlp": (0.5, 0.6, 0.7), "flow": (None, 0.5, 0.9)}
    for family, trained in losses.items():
        rows = [
            {"place": place, "verdict": "healthy", "trained": loss}
            for place, loss in enumerate(trained)
        ]
        record = {"family": family, "verdict": "vanishing", "bound": 0.8, "remedies": rows}
        with (tmp_path / "some.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(record) + "\n")
    run(monkeypatch, module, "--table", tmp_path / "some.jsonl")
    mlp, flow, every = (
        line.split() for line in capsys.readouterr().out.splitlines() if line.split()[0] != "family"
    )
    assert mlp == ["mlp", "1", "100%", "100%", "1.00"]
    assert flow == ["flow", "1", "0%", "100%", "-0.50"]
    assert every == ["all", "2", "50%", "100%", "0.25"]


def test_repairs_parts_are_all_networks_once() -> None:
    module = script("repairs")
    whole = list(module.failing(2))
    parts = [module.todo(whole, f"{part}/3", []) for part in (1, 2, 3)]
    assert sorted(map(str, (job for part in parts for job in part))) == sorted(map(str, whole))
    assert module.todo(whole, "1/1", whole[:-1]) == whole[-1:]


def test_repairs_takes_from_every_family_in_turn() -> None:
    module = script("repairs")
    jobs = list(module.failing(1))
    names = [job["family"] for job in jobs]
    assert len(set(names)) == len(names) >= 10
    assert "built-in" in names
