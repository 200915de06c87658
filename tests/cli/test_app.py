"""The command line as its user meets it: what works, what is refused, what is imported."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradflow import __version__
from gradflow.cli.app import app

Run = Callable[..., Any]
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


def imported_by(*arguments: str, cwd: Path) -> set[str]:
    """Return which heavy modules a command line imports."""
    code = (
        "import sys\n"
        "from gradflow.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "finally:\n    heavy = ('numpy', 'scipy', 'torch', 'matplotlib')\n"
        "    print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
    )
    return set(json.loads(done.stderr.splitlines()[-1].replace("'", '"')))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert imported_by(*arguments, cwd=tmp_path) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    assert imported_by(command, "--help", cwd=tmp_path) == set()


def test_plot_and_eval_do_not_import_torch(tmp_path: Path) -> None:
    assert "torch" not in imported_by("eval", "gelu", "--at", "1", cwd=tmp_path)
    assert "torch" not in imported_by("plot", "gelu", cwd=tmp_path)
    assert "torch" not in imported_by("chain", "--slopes", "1", cwd=tmp_path)


def test_explain_imports_nothing_heavy(tmp_path: Path) -> None:
    assert imported_by("explain", "vanishing", cwd=tmp_path) == set()
    assert imported_by("explain", "--list", cwd=tmp_path) == set()


def test_the_start_loads_no_room_and_no_markdown() -> None:
    """Every command waits for what `gradflow.cli.app` imports."""
    program = "import sys, gradflow.cli.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    slow = {"gradflow.diagnosis", "gradflow.watching", "gradflow.benchmarking", "rich.markdown"}
    bare = subprocess.run(
        [sys.executable, "-c", "import sys, typer.core, typer.main; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )  # an older typer loads rich.markdown itself
    assert not (slow & set(done.stdout.split())) - set(bare.stdout.split())


def test_both_ways_to_start_it() -> None:
    script = shutil.which("gradflow", path=str(Path(sys.executable).parent))
    assert script is not None
    for start in ([script], [sys.executable, "-m", "gradflow"]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"gradflow {__version__}"


def test_alone_it_shows_its_help(run: Run) -> None:
    result = run()
    assert result.exit_code == 0
    assert all(command in result.stdout for command in COMMANDS)


def test_plot_says_where_the_picture_is(run: Run) -> None:
    result = run("plot", "gelu")
    assert result.exit_code == 0, result.output
    assert Path("gelu.png").stat().st_size > 10_000
    assert "gelu.png" in result.stderr
    assert "gelu" in result.stdout


def test_eval_reads_standard_input(run_json: Run) -> None:
    document = run_json("eval", "sigmoid", "--at", "-", "--at", "10", stdin="0 1\n")
    assert [row["x"] for row in document["rows"]] == [0, 1, 10]
    assert document["rows"][2]["derivative"] == pytest.approx(4.5395807735951673e-05, rel=1e-15)
    assert document["activation"] == "sigmoid"
    assert document["parameters"] == {}


def test_alpha_changes_elu_and_is_refused_by_relu(run_json: Run, refused: Run) -> None:
    document = run_json("eval", "elu", "--at", "-1", "--alpha", "0.5")
    assert document["rows"][0]["value"] == pytest.approx(0.5 * math.expm1(-1), rel=1e-15)
    assert "alpha" in refused("eval", "relu", "--at", "1", "--alpha", "0.5")


def test_chain_reproduces_the_article(run_json: Run) -> None:
    document = run_json(
        "chain",
        "--weights",
        "100,100,100",
        "--slopes",
        "0.13,0.21,0.09,0.14",
        "--cost-slope",
        "-1",
        "--bias",
        "1.56",
        "--learning-rate",
        "0.5",
    )
    assert document["gradient"] == pytest.approx(-343.98, rel=1e-14)
    assert document["updated_bias"] == pytest.approx(173.55, rel=1e-14)


CONTRACT = {
    "activations": (
        ["activations"],
        "name aliases formula derivative parameters range max_slope monotonic critical_gain",
        "",
    ),
    "eval": (["eval", "relu", "--at", "1"], "x value derivative", "activation parameters"),
    "chain": (["chain", "--slopes", "1"], "index symbol value product", "gradient updated_bias"),
    "diagnose": (
        ["diagnose", "--depth", "3", "--width", "8", "--batch-size", "4", "--seeds", "2"],
        "index name kind gradient_norm gradient_log10_norm gradient_rms gradient_mean_abs "
        "gradient_max_abs bias_gradient_norm delta_log10_rms predicted_delta_log10_rms "
        "activation_mean activation_variance zero_fraction dead_fraction saturated_fraction "
        "update_ratio bias_gradient_norm_low bias_gradient_norm_high delta_log10_rms_low "
        "delta_log10_rms_high",
        "verdict rate rate_low rate_high predicted_rate remedies",
    ),
    "theory": (
        ["theory", "tanh", "--depth", "3"],
        "layer q chi gradient_log10",
        "fixed_point chi_fixed_point depth_scale regime",
    ),
    "benchmark": (
        ["benchmark", "--train-size", "256", "--epochs", "1", "--act", "relu", "--data", "DATA"],
        "activation seeds test_accuracy test_accuracy_std test_loss best_epoch seconds "
        "images_per_second",
        "aggregate_images_per_second history",
    ),
    "explain": (["explain", "dead"], "code severity", "code severity title text see_also"),
    "clip": (
        ["clip", "--depth", "2", "--width", "8", "--steps", "2"],
        "policy threshold norm_before norm_after cosine clipped_fraction final_loss diverged",
        "",
    ),
}


@pytest.mark.parametrize("command", CONTRACT)
def test_the_contracts_fields_are_in_the_document(
    command: str, run_json: Run, idx_folder: Path
) -> None:
    arguments, fields, extras = CONTRACT[command]
    document = run_json(*(a.replace("DATA", str(idx_folder)) for a in arguments))
    assert document["schema"] == 1
    assert document["command"] == command
    assert {"meta", "rows", "findings"} <= set(document)
    assert set(fields.split()) <= set(document["rows"][0])
    assert set(extras.split()) <= set(document)


def test_fail_on_turns_a_finding_into_exit_1(run: Run) -> None:
    vanishing = ("diagnose", "--act", "sigmoid", "--width", "16", "--no-remedies", "--json")
    assert run(*vanishing, "--fail-on", "vanishing,dead").exit_code == 1
    assert run(*vanishing, "--fail-on", "exploding").exit_code == 0
    assert run(*vanishing).exit_code == 0


def test_diagnose_writes_every_format_it_is_asked_for(run: Run) -> None:
    names = ["a.png", "a.svg", "a.pdf", "a.json", "a.csv", "a.md"]
    outputs = [x for name in names for x in ("-o", name)]
    result = run("diagnose", "--depth", "3", "--width", "8", *outputs)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in Path().iterdir()) == sorted(names)


BAD = {
    "unknown activation": (["diagnose", "--act", "sigmod"], "unknown activation 'sigmod'"),
    "unknown activation to plot": (["plot", "gleu"], "did you mean gelu"),
    "depth 0": (["diagnose", "--depth", "0"], "--depth must be"),
    "width -3": (["diagnose", "--width", "-3"], "got -3"),
    "batch 0": (["diagnose", "--batch-size", "0"], "--batch-size"),
    "a depth that is no number": (["diagnose", "--depth", "ten"], "ten"),
    "NaN threshold": (["clip", "--threshold", "nan"], "must be a number above 0, got nan"),
    "negative threshold": (["clip", "--threshold", "-1"], "got -1"),
    "unknown init": (["diagnose", "--init", "he"], "unknown initialisation 'he'"),
    "unknown loss": (["diagnose", "--loss", "mes"], "did you mean mse"),
    "unknown architecture": (["diagnose", "--arch", "mpl"], "did you mean mlp"),
    "no such data": (["diagnose", "--data", "nowhere"], "nowhere"),
    "no such device": (["diagnose", "--device", "gpu"], "gpu"),
    "no such finding": (["diagnose", "--fail-on", "vanish"], "did you mean vanishing"),
    "no such option": (["diagnose", "--depht", "3"], "--depht"),
    "no such command": (["diagnoze"], "did you mean diagnose"),
    "missing argument": (["eval"], "ACT"),
    "--at abc": (["eval", "relu", "--at", "abc"], "'abc' is not a number"),
    "a range backwards": (["plot", "relu", "--range", "5:-5"], "5:-5"),
    "an unknown suffix": (["plot", "relu", "-o", "relu.gif"], "cannot tell a format"),
    "no such folder": (["plot", "relu", "-o", "no/relu.png"], "there is no folder 'no'"),
    "a figure to stdout": (["plot", "relu", "-o", "-"], "not a file"),
    "slopes and weights": (["chain", "--slopes", "1,2", "--weights", "1,2"], "one fewer"),
    "a slope that is no number": (["chain", "--slopes", "1,x"], "--slopes must be numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2_and_nothing_written(case: str, refused: Run) -> None:
    arguments, says = BAD[case]
    assert says in refused(*arguments)
    assert list(Path().iterdir()) == []


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine has CUDA")
def test_cuda_without_cuda_is_refused(refused: Run) -> None:
    assert "cuda" in refused("diagnose", "--device", "cuda")


def test_an_empty_standard_input_is_refused(refused: Run) -> None:
    assert "no numbers on standard input" in refused("eval", "relu", "--at", "-", stdin="")


def test_a_bad_output_is_refused_before_the_work(refused: Run) -> None:
    assert "no folder" in refused("diagnose", "--depth", "100000", "-o", "no/x.png")


def test_colour_is_left_out_when_piped_or_asked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gradflow", "eval", "relu", "--at", "1"],
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert b"\x1b[" not in done.stdout
    assert max(len(line.decode()) for line in done.stdout.splitlines()) <= 80


def test_a_closed_pipe_is_not_a_traceback(tmp_path: Path) -> None:
    """As `gradflow eval … | head -1`, with a reader that leaves before the first line."""
    with subprocess.Popen(
        [sys.executable, "-m", "gradflow", "eval", "relu", "--at", "0:100:1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_quick_skip_and_epochs(run_json: Run, idx_folder: Path) -> None:
    small = ("--data", str(idx_folder), "--train-size", "128", "--epochs", "2")
    document = run_json("benchmark", *small, "--act", "relu", "--act", "elu", "--skip", "ELU")
    assert [row["activation"] for row in document["rows"]] == ["relu"]
    assert [row["epoch"] for row in document["history"]] == [1, 2]


def test_quick_leaves_what_was_given(run_json: Run, idx_folder: Path) -> None:
    given = ("--train-size", "64", "--validation-size", "32", "--epochs", "1")
    document = run_json("benchmark", "--quick", "--data", str(idx_folder), *given, "--act", "relu")
    assert [row["epoch"] for row in document["history"]] == [1]
    assert document["meta"]["config"]["train_size"] == 64


def test_skipping_what_is_not_there_is_refused(refused: Run) -> None:
    assert "--skip gelu" in refused("benchmark", "--act", "relu", "--skip", "gelu")
    assert "no activation" in refused("benchmark", "--act", "relu", "--skip", "relu")


@pytest.mark.parametrize("command", [["benchmark"], ["diagnose"]], ids=" ".join)
def test_broken_data_is_refused(command: list[str], refused: Run, idx_folder: Path) -> None:
    images = idx_folder / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-100])
    assert "train-images-idx3-ubyte" in refused(*command, "--data", str(idx_folder))
    images.write_bytes(whole)
    labels = idx_folder / "train-labels-idx1-ubyte"
    labels.write_bytes(b"\0\0\x08\x01" + (7).to_bytes(4, "big") + bytes(7))
    assert "7" in refused(*command, "--data", str(idx_folder))


def test_ctrl_c_keeps_what_was_done_and_exits_130(
    run: Run, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradflow.clipping import tasks

    def interrupts(*values: Any) -> Any:
        calls.append(values)
        if len(calls) == 5:  # chance twice, the first gradient, step 1
            raise KeyboardInterrupt
        return original(*values)

    calls: list[Any] = []
    original = tasks.loss_function("cross-entropy")
    monkeypatch.setattr("gradflow.clipping.tasks.loss_function", lambda name: interrupts)
    result = run("clip", "--depth", "2", "--width", "8", "--steps", "3", "-o", "kept.json")
    assert result.exit_code == 130, result.output
    assert "stopped by Ctrl-C; 1 of 3 steps" in " ".join(result.stdout.split())
    assert len(json.loads(Path("kept.json").read_text(encoding="utf-8"))["history"]) == 3


def test_all_prints_every_row_of_a_long_table(run: Run) -> None:
    command = ["theory", "tanh", "--depth", "100"]
    short, whole = (run(*command, *more).stdout for more in ([], ["--all"]))
    assert "layers like this" in short
    assert "layers like this" not in whole
    numbers = [line.split()[0] for line in whole.splitlines() if line.strip()[:1].isdigit()]
    assert numbers == [str(i) for i in range(1, 101)]
