"""A sweep: the numbers of single diagnoses, theory beside them, and nothing measured twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gradflow
from gradflow import NetworkConfig, SweepConfig
from gradflow.activations import activation
from gradflow.cli.app import app
from gradflow.errors import GradflowError
from gradflow.results.base import Result
from gradflow.results.sweep import SweepResult, SweepRow
from gradflow.sweeps.earlier import rows_of_file
from gradflow.sweeps.grid import tasks
from gradflow.theories.propagation import gradient_ratios, predict

SMALL = SweepConfig(
    act=("tanh", "relu"),
    depths=(1, 3, 6),
    weight_variances=(0.0, 0.5, 2.0, 40.0),
    bias_variances=(0.0, 0.1),
    widths=(16,),
    batch_size=8,
    seeds=2,
    seed=3,
)


@pytest.fixture(scope="module")
def small() -> SweepResult:
    return gradflow.sweep(SMALL)


def test_the_loss_below_the_range_of_floats_is_a_mean_over_the_seeds() -> None:
    """Logits that vanish are all equal: cross-entropy is ln 10, however many networks there are."""
    given = {"act": "relu", "depth": 60, "width": 16, "weight_variance": 0.01, "bias_variance": 0.0}
    result = gradflow.diagnose(NetworkConfig(**given, seeds=3))  # type: ignore[arg-type]
    assert result.loss == pytest.approx(math.log(10), rel=1e-6)


def near(value: float | None, other: float | None, rel: float) -> bool:
    if value is None or other is None:
        return value is other
    return value == pytest.approx(other, rel=rel, abs=1e-6)


def single(row: SweepRow) -> gradflow.results.base.Result:  # type: ignore[name-defined]
    return gradflow.diagnose(
        NetworkConfig(
            act=row.activation,
            width=row.width,
            depth=row.depth,
            weight_variance=row.weight_variance,
            bias_variance=row.bias_variance,
            batch_size=8,
            seeds=2,
            seed=3,
        )
    )


def test_every_point_is_what_diagnose_says_of_that_network(small: SweepResult) -> None:
    """Weights are the same to the bit; products of more matrices may be summed in another order."""
    assert len(small.records) == SMALL.points == 48
    for row in small.records:
        result = single(row)
        assert row.verdict == result.verdict
        assert near(row.rate, result.rate, 1e-5)


def test_the_gradient_is_that_of_the_first_hidden_layer_over_the_last() -> None:
    config = SweepConfig(depths=(5,), weight_variances=(1.5,), widths=(16,), seeds=1)
    [row] = gradflow.sweep(config).records
    layers = single_layers(NetworkConfig(act="tanh", depth=5, width=16, weight_variance=1.5))
    assert row.gradient_log10 == pytest.approx(layers[0] - layers[4], abs=1e-6)


def single_layers(config: NetworkConfig) -> list[float]:
    config = NetworkConfig(**{**vars(config), "bias_variance": 0.0})
    return [row.delta_log10_rms for row in gradflow.diagnose(config).records]


def test_points_that_are_measured_together_are_the_same_alone(small: SweepResult) -> None:
    for row in small.records[1::7]:
        config = SweepConfig(
            **{
                **vars(SMALL),
                "act": (row.activation,),
                "depths": (row.depth,),
                "weight_variances": (row.weight_variance,),
                "bias_variances": (row.bias_variance,),
            }
        )
        [alone] = gradflow.sweep(config).records
        assert alone.verdict == row.verdict
        assert near(alone.gradient_log10, row.gradient_log10, 1e-6)


def test_the_prediction_is_theorys_layer_by_layer() -> None:
    act = activation("gelu")
    weights = [0.5, 2.0, 3.0]
    found = gradient_ratios(act, *_arrays(weights, [0.1] * 3, [w * 1.1 + 0.1 for w in weights]), 20)
    for place, weight in enumerate(weights):
        chain = predict(act, [weight] * 20, [0.1] * 20, weight * 1.1 + 0.1).gradient_log10
        assert found[19, place] == pytest.approx(chain[0] - chain[19], rel=1e-12)
        assert found[7, place] == pytest.approx(chain[0] - chain[7], rel=1e-12)


def _arrays(*columns: list[float]) -> list[object]:
    import numpy as np

    return [np.array(column) for column in columns]


def test_a_wide_network_is_as_predicted() -> None:
    config = SweepConfig(depths=(10,), weight_variances=(0.8, 1.5, 3.0), widths=(256,), seeds=4)
    for row in gradflow.sweep(config).records:
        assert row.gradient_log10 == pytest.approx(row.predicted_gradient_log10, abs=0.1)


def test_the_summary_says_to_which_depth_networks_are_healthy() -> None:
    depths = (5, 20, 60)
    result = gradflow.sweep(SweepConfig(depths=depths, weight_variances=(0.6, 1.2), seeds=1))
    by_weight = {row.weight_variance: row for row in result.summary}
    assert by_weight[0.6].healthy_to in {None, 5}
    assert by_weight[1.2].healthy_to == 60
    assert by_weight[0.6].verdict == "vanishing"
    scales = {s.weight_variance: s.depth_scale for s in result.scales}
    assert by_weight[0.6].trainable_to == pytest.approx(6 * scales[0.6])


def test_workers_change_nothing(small: SweepResult) -> None:
    config = SweepConfig(**{**vars(SMALL), "workers": 2})
    assert gradflow.sweep(config).records == small.records


def test_known_rows_are_not_measured_again(small: SweepResult) -> None:
    counted: list[int] = []
    half = small.records[::2]
    result = gradflow.sweep(SMALL, known=half, progress=lambda done, _: counted.append(done))
    assert counted[0] == len(half)
    assert [(r.depth, r.verdict) for r in result.records] == [
        (r.depth, r.verdict) for r in small.records
    ]


def test_an_interrupted_sweep_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradflow.sweeps import measuring

    measured, calls = measuring.measured, []

    def stopped(task: object) -> list[SweepRow]:
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(task)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "measured", stopped)
    result = gradflow.sweep(SMALL)
    assert 0 < len(result.records) < SMALL.points
    assert [f.code for f in result.findings] == ["interrupted"]


def test_a_task_holds_networks_of_one_shape_and_no_more_than_fit() -> None:
    config = SweepConfig(widths=(512,), depths=(4, 8), batch_size=512, seeds=3)
    found = list(tasks(config))
    assert sum(len(task.points) for task in found) == config.points
    assert len(found) > 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"act": ("nosuch",)}, "nosuch"),
        ({"depths": (0,)}, "--depths must be a whole number of at least 1"),
        ({"weight_variances": (-1.0,)}, "--weight-variances"),
        ({"depths": (10**9,)}, "memory"),
        ({"seeds": 0}, "--seeds"),
    ],
)
def test_what_cannot_be_swept_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        gradflow.sweep(SweepConfig(**given))  # type: ignore[arg-type]


def run_sweep(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(
        app, ["sweep", "--widths", "16", "--seeds", "1", "--batch-size", "8", *arguments]
    )
    return done.exit_code, done.stdout, done.stderr


def test_the_command_takes_ranges_and_goes_on_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "first.json"
    grid = ("--depths", "2:4:1", "--act", "tanh,relu")
    code, _, _ = run_sweep(*grid, "--weight-variances", "1,2", "-o", str(file))
    assert code == 0
    more = ("--weight-variances", "1:2:0.5", "--resume", str(file), "--json")
    code, out, _ = run_sweep(*grid, *more)
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == 1
    assert [r["weight_variance"] for r in document["rows"][:3]] == [1, 1.5, 2]
    before = json.loads(file.read_text())["rows"]
    assert all(row in document["rows"] for row in before)
    revived = Result.from_dict(document)
    assert isinstance(revived, SweepResult)
    assert math.isfinite(revived.records[0].gradient_log10 or math.nan)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file"),
        ("{}", "no JSON result of a sweep"),
        ("[" * 5000, "no JSON result of a sweep"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(GradflowError, match=says):
        rows_of_file(str(file), SMALL)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(GradflowError, match="cannot read"):
        rows_of_file("a name with a null character\0", SMALL)


def test_rows_of_other_options_are_refused(small: SweepResult, tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    small.save(file)
    other = SweepConfig(**{**vars(SMALL), "batch_size": 16})
    with pytest.raises(GradflowError, match="--batch-size 8, not 16"):
        rows_of_file(str(file), other)


def test_a_diagnosis_is_no_sweep(tmp_path: Path) -> None:
    file = tmp_path / "diagnosis.json"
    gradflow.diagnose(NetworkConfig(depth=2)).save(file)
    with pytest.raises(GradflowError, match="of 'diagnose', not of a sweep"):
        rows_of_file(str(file), SMALL)


def test_help_and_wrong_lists() -> None:
    code, _, err = run_sweep("--depths", "1:x:2")
    assert code == 2
    assert "is not start:stop:step" in err
    code, _, err = run_sweep("--depths", "1.5")
    assert code == 2
    assert "--depths must be whole numbers" in err
    code, _, err = run_sweep("--depths", "1:2:0.5")
    assert code == 2
