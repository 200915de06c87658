"""Benchmarks from config to result: grids, seeds, progress, interruption."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_runs import numbers, small, write_stripes

from gradflow.benchmarking import run as benchmarking_run
from gradflow.benchmarking.data import splitting
from gradflow.benchmarking.events import EpochDone, Event, Progress
from gradflow.benchmarking.grid import activations, clippings, in_order, settings
from gradflow.benchmarking.plan import benchmark_plan as plan
from gradflow.benchmarking.plan import wall_seconds
from gradflow.benchmarking.run import benchmark as run
from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.errors import GradflowError
from gradflow.executors import processes
from gradflow.executors.tasks import Outcome, Place
from gradflow.results.base import Result
from gradflow.results.benchmark import PlanResult, PlanRow, Setting

pytestmark = pytest.mark.usefixtures("one_core")

Make = Callable[..., BenchmarkConfig]


@pytest.fixture
def config(stripes: str) -> Make:
    def make(**options: Any) -> BenchmarkConfig:
        return small(**{"data": stripes, **options})

    return make


# The result


def test_a_run_has_the_contract_s_rows_and_fields(config: Make) -> None:
    document = run(config(seeds=2)).to_dict()
    assert [row["activation"] for row in document["rows"]] == ["relu", "selu"]
    assert document["rows"][0].keys() >= {
        "activation",
        "seeds",
        "test_accuracy",
        "test_accuracy_std",
        "test_loss",
        "best_epoch",
        "seconds",
        "images_per_second",
    }
    assert document["history"][0].keys() >= {
        "activation",
        "seed",
        "epoch",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "gradient_norm",
        "seconds",
    }
    assert [(h["activation"], h["seed"], h["epoch"]) for h in document["history"]] == [
        (name, seed, epoch) for name in ("relu", "selu") for seed in (0, 1) for epoch in (1, 2)
    ]
    assert document["aggregate_images_per_second"] > 0
    sizes = (document["train_size"], document["validation_size"], document["test_size"])
    assert sizes == (80, 16, 30)
    assert Result.from_dict(json.loads(json.dumps(document))).to_dict() == document


def test_every_layer_of_every_epoch_has_its_flow(config: Make) -> None:
    result = run(config(act=("relu",), seeds=2))
    assert [(r.seed, r.epoch, r.name) for r in result.flow] == [
        (seed, epoch, name)
        for seed in (0, 1)
        for epoch in (1, 2)
        for name in ("conv 1", "conv 2", "dense 1", "dense 2")
    ]


def test_throughput_is_images_by_training_seconds(config: Make) -> None:
    result = run(config())
    seconds = dict.fromkeys(("relu", "selu"), 0.0)
    for row in result.history:
        seconds[row.activation] += row.seconds
    for row in result.records:
        assert row.images_per_second == pytest.approx(2 * 80 / seconds[row.activation])
    # one worker trained both, one after the other
    assert result.aggregate_images_per_second == pytest.approx(4 * 80 / sum(seconds.values()))


def test_training_longer_learns_the_stripes(config: Make) -> None:
    result = run(config(act=("elu",), epochs=12, batch_size=16))
    assert result.history[0].train_loss > 0.5
    assert result.records[0].test_accuracy > 0.9


@pytest.mark.parametrize("arch", ["cnn", "mlp", "deep-mlp"])
def test_every_architecture_trains_with_other_options_than_the_article_s(
    config: Make, arch: str
) -> None:
    options = {"init": "he-normal", "clip_norm": 1.0, "dropout": 0.1, "optimizer": "AdamW"}
    result = run(config(act=("relu",), arch=arch, epochs=10, batch_size=8, **options))
    first, last = result.history[0], result.history[-1]
    assert last.train_loss < first.train_loss
    assert result.records[0].setting == Setting(
        arch=arch,
        init="he-normal",
        optimizer="adamw",
        batch_size=8,
        dropout="0.1/0.1",
        clip="norm 1",
    )


@pytest.mark.parametrize(("shape", "classes"), [((8, 11), 2), ((12, 9), 4)])
def test_other_images_and_numbers_of_classes_are_trained_on(
    tmp_path: Path, shape: tuple[int, int], classes: int
) -> None:
    result = run(small(write_stripes(tmp_path, shape, classes), act=("relu",), epochs=1))
    assert 0 <= result.records[0].test_accuracy <= 1
    assert result.history[0].test_loss == pytest.approx(math.log(classes), abs=1)


def test_numbers_are_the_same_whatever_workers_is(config: Make) -> None:
    alone, together = run(config(epochs=1)), run(config(epochs=1, workers=2))
    assert numbers(alone) == numbers(together)
    assert len(alone.history) == 2
    assert alone.meta.threads == together.meta.threads


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_no_number(config: Make, tmp_path: Path) -> None:
    done: list[Event] = []

    def kill_one(event: Event) -> None:
        if isinstance(event, EpochDone):
            done.append(event)
            if len(done) == 2:
                children = multiprocessing.active_children()
                victim = next(c for c in children if "Manager" not in c.name)
                os.kill(victim.pid or 0, signal.SIGKILL)

    whole = run(config())
    result = run(config(workers=2, output_dir=str(tmp_path / "run")), kill_one)
    assert numbers(result) == numbers(whole)
    assert len(done) > 2
    assert "unjudged" not in {f.code for f in result.findings}


def test_data_are_read_again_where_their_folder_is_not_shared(config: Make) -> None:
    with splitting(config()) as split:
        here = [array.copy() for array in split.arrays("validation")]
    there = split.arrays("validation")  # the folder is gone, as on another machine
    assert all((a == b).all() for a, b in zip(here, there, strict=True))
    with pytest.raises(GradflowError, match="not the same data on every machine"):
        dataclasses.replace(split, digest="another").arrays("train")


@pytest.mark.parametrize(
    ("cores", "seeds", "threads"), [(2, 1, 2), (2, 2, 1), (8, 3, 2), (1, 5, 1)]
)
def test_threads_follow_from_tasks_and_cores_and_not_from_workers(
    config: Make, monkeypatch: pytest.MonkeyPatch, cores: int, seeds: int, threads: int
) -> None:
    asked: list[Place] = []

    def note(_function: Any, _tasks: Any, place: Place, **_: Any) -> Outcome:
        asked.append(place)
        return Outcome()

    monkeypatch.setattr(processes, "cores", lambda: cores)
    monkeypatch.setattr(benchmarking_run, "run_each", note)
    run(config(act=("relu",), seeds=seeds, workers=None))
    run(config(act=("relu",), seeds=seeds, workers=3))
    each = [min(seeds, cores // threads), 3]
    assert asked == [Place(workers, threads=threads) for workers in each]


def test_a_run_does_not_depend_on_what_else_runs(config: Make) -> None:
    together = run(config(act=("relu", "selu", "tanh"), epochs=1))
    alone = run(config(act=("selu", "relu", "elu"), epochs=1))
    assert numbers(together)[1] == numbers(alone)[0]


def test_seeds_differ_and_repeat(config: Make) -> None:
    both = run(config(act=("relu",), seeds=2, epochs=1))
    second = run(config(act=("relu", "selu"), seed=1, epochs=1))
    assert both.history[0].train_loss != both.history[1].train_loss
    assert numbers(both)[1] == numbers(second)[0]


def test_train_size_and_alpha_are_used(config: Make) -> None:
    plain = run(config(act=("elu", "relu"), epochs=1))
    other = run(config(act=("elu", "relu"), epochs=1, alpha=1.0))
    assert numbers(plain)[0] != numbers(other)[0]
    assert numbers(plain)[1] == numbers(other)[1]  # ReLU has no α
    assert run(config(epochs=1, train_size=32)).train_size == 32


@pytest.mark.parametrize(
    "options", [{"clip_value": 1e-6}, {"clip_norm": 1e-6}, {"lr": 1e-9}, {"optimizer": "sgd"}]
)
def test_options_change_training(config: Make, options: dict[str, Any]) -> None:
    base = {"act": ("relu",), "optimizer": "sgd", "lr": 0.5, "epochs": 2}
    if options == {"optimizer": "sgd"}:
        base["optimizer"] = "adam"
    reference, changed = (run(config(**{**base, **o})).history for o in ({}, options))
    assert reference[-1].train_loss != changed[-1].train_loss
    if "optimizer" not in options:  # nothing moves: each epoch is like the first
        assert changed[0].test_loss == pytest.approx(changed[1].test_loss, abs=1e-3)


def test_a_learning_rate_that_is_far_too_large_diverges_without_an_exception(config: Make) -> None:
    result = run(config(act=("relu",), optimizer="sgd", lr=1e30, clip_value=0.0))
    assert "diverged" in [found.code for found in result.findings]


# Grids


def test_a_grid_is_every_combination_once() -> None:
    config = BenchmarkConfig(
        act=("relu", "ReLU", "elu"),
        lr=(1e-3, 1e-2),
        batch_size=(32, 64),
        dropout=("0.5", "0/0.5"),
        clip_value=(0, 0.5),
        clip_norm=1.0,
    )
    found = settings(config)
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2 * 3
    assert {s.clip for s in found} == {"none", "value 0.5", "norm 1"}
    assert {s.dropout for s in found} == {"0.5/0.5", "0/0.5"}
    assert [s.activation for s in found[:4]] == ["relu", "elu", "relu", "elu"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ("value 0.5",)),
        ({"clip_norm": 2.0}, ("norm 2",)),
        ({"clip_value": 0.0}, ("none",)),
        ({"clip_norm": 0.0}, ("none",)),
        (
            {"clip_value": (0.0, 0.1), "clip_norm": (1.0, 5.0)},
            ("none", "value 0.1", "norm 1", "norm 5"),
        ),
    ],
)
def test_the_ways_of_clipping(options: dict[str, Any], words: tuple[str, ...]) -> None:
    assert clippings(BenchmarkConfig(**options)) == words


def test_stored_settings_stand_in_the_order_in_which_they_were_asked_for() -> None:
    asked = BenchmarkConfig(
        act=("Swish", "relu"), lr=(1e-2, 1e-3), clip_norm=(5.0, 0.0), arch=("mlp", "cnn")
    )
    found = settings(asked)
    by_chance = sorted(found, key=str)
    assert by_chance != list(found)
    assert in_order(by_chance, asked.settings()) == list(found)
    assert in_order(by_chance, {}) != list(found)  # a folder that does not say what was asked for


def test_each_architecture_has_its_own_dropout_and_initialisations_their_names() -> None:
    found = settings(
        BenchmarkConfig(act="relu", arch=("cnn", "MLP"), init=("Keras", "kaiming_normal"))
    )
    assert [(s.arch, s.dropout) for s in found[::2]] == [("cnn", "0.25/0.5"), ("mlp", "0.2/0.2")]
    assert [s.init for s in found[:2]] == ["keras", "he-normal"]


def test_a_grid_s_runs_are_those_of_each_alone(config: Make) -> None:
    grid = run(config(act=("relu",), lr=(1e-3, 1e-2), epochs=1))
    alone = run(config(act=("relu",), lr=1e-2, epochs=1))
    assert numbers(grid)[1] == numbers(alone)[0]
    assert "lr 0.01" in grid.title


# The split


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, (80, 16)),
        ({"validation_size": None}, (80, 16)),  # a sixth
        ({"validation_size": 0}, (96, 0)),
        ({"train_size": 96, "validation_size": None}, (96, 0)),
        ({"train_size": 90, "validation_size": None}, (90, 6)),
        ({"train_size": 10, "validation_size": 40}, (10, 40)),
    ],
)
def test_the_training_set_is_split(
    config: Make, options: dict[str, Any], sizes: tuple[int, int]
) -> None:
    with splitting(config(**options)) as split:
        train, validation = split.arrays("train"), split.arrays("validation")
        assert (len(train[0]), len(validation[0])) == (split.size("train"), sizes[1])
        assert split.size("train") == sizes[0]
        whole = split._mapped("train_images")
        assert (train[0] == whole[: sizes[0]]).all()
        assert (validation[0] == whole[96 - sizes[1] :]).all()
    assert not Path(split.folder).exists()


# Progress and interruption


def test_progress_counts_the_steps_of_every_epoch(config: Make) -> None:
    events: list[Event] = []
    run(config(act=("relu",), batch_size=8), events.append)
    steps = [e for e in events if isinstance(e, Progress)]
    assert [(e.epoch, e.step, e.steps) for e in steps] == [(1, 10, 10), (2, 10, 10)]
    assert (steps[0].setting.activation, steps[0].seed) == ("relu", 0)
    rows = [e for e in events if isinstance(e, EpochDone)]
    assert [row.history.epoch for row in rows] == [1, 2]
    assert steps[0].loss == pytest.approx(rows[0].history.train_loss)
    assert steps[0].accuracy == pytest.approx(rows[0].history.train_accuracy)


def test_ctrl_c_keeps_the_finished_epochs(config: Make) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and (event.setting.activation, event.epoch) == ("selu", 2):
            raise KeyboardInterrupt

    result = run(config(), interrupt)
    assert [(r.activation, r.epoch) for r in result.history] == [
        ("relu", 1),
        ("relu", 2),
        ("selu", 1),
    ]
    assert [row.activation for row in result.records] == ["relu", "selu"]
    assert result.findings[0].code == "interrupted"
    assert "3 of 4 epochs" in result.findings[0].message


def test_ctrl_c_before_the_first_epoch_gives_an_empty_result(
    config: Make,
) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    result = run(config(), interrupt)
    assert result.records == result.history == ()
    assert result.aggregate_images_per_second is None
    assert result.title == "No epoch was finished"


INTERRUPTED = """
    import signal, sys
    from gradflow.configs import BenchmarkConfig
    from gradflow.benchmarking.run import benchmark as run
    def say(event):
        print("event", flush=True)
    if __name__ == "__main__":
        # A background job of a shell, as CI may be, inherits Ctrl-C as ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        config = BenchmarkConfig(act=("relu", "selu"), epochs=10000, data=sys.argv[1],
                                 device="cpu", workers=2)
        print("started", flush=True)
        print("result", run(config, say).findings[0].code, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process group are POSIX")
@pytest.mark.parametrize("wait_for", ["started", "event"])
def test_ctrl_c_stops_the_workers_quietly(stripes: str, tmp_path: Path, wait_for: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, str(script), stripes],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != wait_for:
        assert process.poll() is None
    if wait_for == "started":
        time.sleep(1.5)  # in the middle of starting the workers, or near it
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    output, errors = process.communicate(timeout=60)
    if wait_for == "event":  # earlier, it may come before `run` listens
        assert output.endswith("result interrupted\n")
        assert errors == ""
    assert errors.count("Traceback") <= 1  # the parent's own at most
    for _ in range(100):
        if not group_alive(process.pid):
            return
        time.sleep(0.1)
    pytest.fail("workers outlived their parent")


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# Config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "--batch-size"),
        ({"lr": -1.0}, "--lr must be a number above 0"),
        ({"lr": math.nan}, "--lr must be a number above 0"),
        ({"clip_value": -0.5}, "--clip-value"),
        ({"clip_norm": -1.0}, "--clip-norm"),
        ({"lr": (0.1, 0.0)}, "--lr must be a number above 0, got 0.0"),
        ({"validation_size": -1}, "--validation-size"),
        ({"target": 99.0}, "--target must be above 0 and at most 1, got 99.0"),
        ({"seeds": 0}, "--seeds"),
        ({"seed": -1}, "--seed"),
        ({"train_size": 0}, "--train-size"),
        ({"workers": 0}, "--workers"),
        ({"act": ()}, "no activation"),
        ({"resume": True}, "--resume needs --output-dir"),
    ],
)
def test_a_value_out_of_range_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GradflowError, match=message):
        BenchmarkConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"act": ("reul",)}, "unknown activation 'reul'"),
        ({"alpha": 0.1}, "relu has no alpha"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'"),
        ({"precision": "fp8"}, "unknown precision"),
        ({"precision": "tf32"}, "tf32 needs a CUDA device"),
        ({"device": "gpu"}, "unknown device"),
        ({"data": "/nowhere"}, "there is no folder"),
        ({"train_size": 97}, "--train-size 97 is more than the 96 images"),
        ({"train_size": 90}, "--train-size 90 and --validation-size 16 are more than the 96"),
        ({"validation_size": 96}, "--train-size 1 and --validation-size 96"),
        ({"arch": "resnet"}, "unknown architecture 'resnet'"),
        ({"init": "he-norml"}, "unknown initialisation 'he-norml'"),
        ({"dropout": "1.5"}, "--dropout must be one or two shares from 0 to below 1, got '1.5'"),
        ({"dropout": "a/b"}, "--dropout must be one or two shares"),
    ],
)
def test_what_cannot_be_run_is_refused_before_training(
    config: Make, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GradflowError, match=message):
        run(config(**options))


def test_a_name_and_its_alias_are_one_activation() -> None:
    config = BenchmarkConfig(act=("leaky_relu", "leaky-relu", "ReLU"), alpha=0.1)
    assert list(activations(config)) == ["leaky-relu", "relu"]
    assert activations(config)["leaky-relu"].parameters == {"alpha": 0.1}


def test_the_defaults_are_the_article_s() -> None:
    config = BenchmarkConfig()
    assert config.act == ("sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu")
    assert {dataclasses.replace(s, activation="relu") for s in settings(config)} == {
        Setting(
            arch="cnn",
            init="keras",
            optimizer="adam",
            lr=1e-3,
            batch_size=128,
            dropout="0.25/0.5",
            clip="value 0.5",
        )
    }


def test_importing_the_benchmark_does_not_import_torch() -> None:
    code = (
        "import sys, gradflow.benchmarking.run, gradflow.benchmarking.stored\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Plans


def test_a_plan_has_every_run_and_trains_none(config: Make, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    asked = config(seeds=3, lr=(1e-3, 1e-2), output_dir=str(tmp_path / "run"))
    result = plan(asked, lambda *progress: seen.append(progress))
    assert not (tmp_path / "run").exists()
    assert seen == [(1, 2), (2, 2)]  # a learning rate takes no time
    pairs = {row.activation: row.seconds_per_step for row in result.records}
    assert all(row.seconds_per_step == pairs[row.activation] for row in result.records)
    assert [row.lr for row in result.records] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert (result.runs, result.workers) == (12, 1)
    assert [(row.runs, row.epochs, row.steps) for row in result.records] == [(3, 2, 3)] * 4
    assert result.seconds == pytest.approx(sum(row.seconds for row in result.records))
    assert all(row.seconds > 3 * 2 * 3 * row.seconds_per_step for row in result.records)
    assert result.title.startswith("12 runs on 1 worker: about ")
    document = json.loads(json.dumps(result.to_dict()))
    assert Result.from_dict(document).to_dict() == document


def test_a_plan_leaves_out_what_is_stored(config: Make, tmp_path: Path) -> None:
    options = {"output_dir": str(tmp_path), "act": ("relu",)}
    run(config(**options))
    assert plan(config(**options, resume=True)).runs == 0
    assert plan(config(**{**options, "act": ("relu", "elu")}, resume=True)).runs == 1


def test_a_plan_says_that_its_rows_sum_up_where_workers_share_them() -> None:
    rows = tuple(
        PlanRow(
            activation=name,
            runs=1,
            epochs=1,
            steps=1,
            seconds_per_step=1.0,
            images_per_second=1.0,
            seconds=600.0,
        )
        for name in ("relu", "elu")
    )
    both = PlanResult(records=rows, runs=2, workers=2, seconds=600.0)
    assert both.title.endswith("about 10 min (the rows sum to 20 min, for one worker)")
    assert dataclasses.replace(both, workers=1).title == "2 runs on 1 worker: about 10 min"


def test_workers_take_the_next_run_when_they_are_free() -> None:
    a, b = Setting(activation="relu"), Setting(activation="elu")
    runs = [(a, 0), (b, 0), (b, 1), (b, 2)]
    assert wall_seconds({a: 3.0, b: 1.0}, runs, 2) == 3.0
    assert wall_seconds({a: 3.0, b: 1.0}, runs, 1) == 6.0
    assert wall_seconds({}, [], 2) == 0.0
