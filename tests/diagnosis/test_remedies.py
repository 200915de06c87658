"""Remedies are measured and trained, and what is printed makes what was measured."""

from __future__ import annotations

import copy
import functools
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.networks_of_all_kinds import Functional, cases, dense
from torch import Tensor, nn
from typer.main import get_command

from gradflow import NetworkConfig, diagnose, diagnosis
from gradflow.cli.app import app
from gradflow.datasets.batches import batch
from gradflow.diagnosis.objective import Objective, called, copied
from gradflow.diagnosis.remedies.anatomy import Anatomy, anatomy
from gradflow.diagnosis.remedies.built_in import changes, torch_lines
from gradflow.diagnosis.remedies.catalogue import REMEDIES, in_order
from gradflow.diagnosis.remedies.configs import options
from gradflow.diagnosis.remedies.grid import Pace, Plan, Rate
from gradflow.diagnosis.remedies.loop import PLAIN, Loop
from gradflow.diagnosis.remedies.modules import treatments
from gradflow.diagnosis.remedies.source import source
from gradflow.diagnosis.remedies.updates import Update
from gradflow.networks.architectures import build
from gradflow.report import remedied
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow

CASES = cases()
NOTHING = DiagnosisResult(records=())
CPU = torch.device("cpu")


def run_lines(lines: str, model: nn.Module) -> nn.Module:
    names: dict[str, Any] = {"torch": torch, "model": model}
    exec(lines, names)
    return names["model"]


def sick(depth: int = 5) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    parts = [part for _ in range(depth) for part in (16, nn.Sigmoid())]
    model, x = dense(16, *parts, 4), torch.randn(80, 16)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.3)
    return model, x, x[:, :4].argmax(1)


# --- the user's own module --------------------------------------------------------------------


@functools.cache
def looked_at(name: str) -> Anatomy:
    model, inputs, targets, loss = CASES[name]
    result = diagnose(model, inputs, targets, loss=loss)
    return anatomy(copy.deepcopy(model), Objective(inputs, targets, loss), result)


def remedied_case(name: str, remedy: str) -> nn.Module:
    (one,) = [t for t in treatments(looked_at(name)) if t.name == remedy]
    return one.copy_of(looked_at(name))


@pytest.mark.parametrize("name", CASES)
def test_the_lines_make_what_was_measured(name: str) -> None:
    model, inputs, *_ = CASES[name]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = [one for one in treatments(looked_at(name)) if not (one.loop or one.of_loss)]
    assert len(found) >= 3
    for one in found:
        again = run_lines(one.lines, copy.deepcopy(model))
        treated = one.copy_of(looked_at(name))
        first, second = treated.state_dict(), again.state_dict()
        assert first.keys() == second.keys(), one.name
        assert all(torch.equal(first[k], second[k]) for k in first), one.name
        outputs = [called(m, copied(inputs)) for m in (copy.deepcopy(model), treated, again)]
        assert torch.equal(outputs[1], outputs[2]), one.name
        assert not torch.equal(outputs[0], outputs[1]), one.name
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_remedies_of_a_module_are_trained_and_in_the_order_of_what_that_gave() -> None:
    model, x, y = sick()
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    result = diagnose(model, x, y, remedies=True, trial_steps=25)
    losses = [row.trained_loss for row in result.remedies]
    assert all(loss is not None for loss in losses)
    assert losses == sorted(losses)  # type: ignore[type-var]
    assert result.untreated_loss is not None
    assert losses[0] < 0.5 * result.untreated_loss  # type: ignore[operator]
    assert result.trial_steps == 25
    assert {row.steps for row in result.remedies} == {25}
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in model.parameters())
    assert type(result).from_dict(result.to_dict()) == result


def test_the_same_call_gives_the_same_numbers() -> None:
    model, x, y = sick()
    first, second = (diagnose(model, x, y, remedies=True, trial_steps=2) for _ in range(2))
    assert first.remedies == second.remedies != ()


def test_what_is_no_change_for_the_optimizer_in_use_is_not_tried() -> None:
    for optimizer, tried in (("sgd", False), ("adamw", True)):
        result = diagnose(*sick(), remedies=True, trial_steps=1, optimizer=optimizer)
        assert result.verdict == "vanishing"
        assert any(row.remedy.startswith("Adam's ε") for row in result.remedies) is tried


def test_without_training_health_decides() -> None:
    result = diagnose(*sick(), remedies=True, trial_steps=0)
    assert result.untreated_loss is None
    assert {row.trained_loss for row in result.remedies} == {None}
    ranks = [(row.verdict != "healthy", row.decades) for row in result.remedies]
    assert ranks == sorted(ranks)


def test_what_was_measured_is_given_before_remedies_are_tried() -> None:
    order: list[Any] = []
    result = diagnose(
        *sick(),
        remedies=True,
        trial_steps=0,
        seen=order.append,
        progress=lambda done, _: order.append(done),
    )
    first, *counted = order
    assert first.remedies == ()
    assert first.rows() == result.rows()
    assert counted == list(range(len(counted)))


def test_a_loss_that_comes_with_the_output_will_do() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = sick()[0]

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).square().mean()

    result = diagnose(Own(), torch.randn(8, 16), remedies=True, trial_steps=2)
    assert "model.inner" in "".join(row.torch for row in result.remedies)


LOOPS = {name: remedy.loop for name, remedy in REMEDIES.items() if remedy.loop is not None}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("rate", Plan().rates()[1:], ids=lambda rate: rate.optimizer)
def test_the_lines_of_a_loop_train_as_the_trial_did(name: str, rate: Rate) -> None:
    loop = LOOPS[name]
    rates = loop.rates([rate])
    if not rates:
        assert (name, rate.optimizer) == ("Adam's ε at 1e-15", "sgd")
        return
    model, x, y = sick(1)
    x = 10 * x
    ours = copy.deepcopy(model)
    update = Update(list(ours.parameters()), rates, loop)
    lines = loop.lines(None, [rate])
    plain = Loop(slower=1.0).lines(None, [rate])
    names: dict[str, Any] = {"torch": torch, "model": model}
    exec(lines if "optimizer" in lines else plain, names)
    for _ in range(6):
        update.step(nn.functional.cross_entropy(ours(x), y))
        names["optimizer"].zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if "clip" in lines:
            exec(lines, names)
        names["optimizer"].step()
        if "scheduler" in names:
            names["scheduler"].step()
    for mine, torchs in zip(ours.parameters(), model.parameters(), strict=True):
        assert torch.allclose(mine, torchs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("calls", ["torch.sigmoid(x)", "F.sigmoid(x)", "x.sigmoid()"])
def test_an_activation_called_as_a_function_is_replaced(calls: str) -> None:
    act = eval(f"lambda x: {calls}", {"torch": torch, "F": nn.functional})
    torch.manual_seed(0)
    model, x = Functional(act, ends=True), torch.randn(12, 6)
    looked = anatomy(
        copy.deepcopy(model), Objective(x, x.argmax(1) % 3), diagnose(model, x, x.argmax(1) % 3)
    )
    (one,) = [t for t in treatments(looked) if t.name == "ReLU"]
    wanted = copy.deepcopy(model)
    wanted.act = torch.relu
    assert torch.equal(one.copy_of(looked)(x), wanted(x))
    assert not torch.equal(model(x), wanted(x))


def test_a_function_behind_the_output_stays() -> None:
    class Behind(Functional):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sigmoid()

    x = torch.randn(12, 6)
    model = Behind(torch.sigmoid)
    result = diagnose(model, x, x[:, :3].sigmoid(), loss=nn.functional.mse_loss)
    assert anatomy(model, Objective(x), result).functions == []


def test_what_cannot_be_copied_is_said() -> None:
    class Single(nn.Sequential):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("there is one of me")

    model, x, y = sick()
    result = diagnose(Single(*model), x, y, remedies=True, trial_steps=2)
    assert result.remedies == ()
    assert "there is one of me" in [f for f in result.findings if f.code == "no-copy"][-1].message


def test_recurrent_matrices_are_orthogonal_gate_by_gate() -> None:
    cell: Any = remedied_case("lstm", "spectral radius 1").get_submodule("cell")
    for gate in (*cell.weight_hh_l0.chunk(4), *cell.weight_hh_l1.chunk(4)):
        assert torch.linalg.eigvals(gate).abs().tolist() == pytest.approx([1.0] * 6, rel=1e-4)
    assert cell.bias_ih_l1[6:12].tolist() == [1.0] * 6


def test_convolutions_get_the_variance_of_their_fan_in() -> None:
    torch.manual_seed(0)
    convs = [nn.Conv2d(32, 32, 3, padding=1) for _ in range(3)]
    model = nn.Sequential(
        *[m for c in convs for m in (c, nn.ReLU())], nn.Flatten(), nn.Linear(512, 2)
    )
    x, y = torch.randn(8, 32, 4, 4), torch.randint(2, (8,))
    looked = anatomy(copy.deepcopy(model), Objective(x, y), diagnose(model, x, y))
    (one,) = [t for t in treatments(looked) if t.name == "critical weights"]
    variance = next(one.copy_of(looked).parameters()).var() * 32 * 9
    assert float(variance.detach()) == pytest.approx(2.0, rel=0.1)


def test_data_driven_scaling_gives_every_layer_a_variance_of_1() -> None:
    model = remedied_case("deep", "data-driven scaling (LSUV)")
    seen: list[float] = []
    for layer in model:  # type: ignore[attr-defined]
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _m, _i, out: seen.append(float(out.detach().std())))
    model(CASES["deep"][1])
    assert seen == pytest.approx([1.0] * 7, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("softmax twice", "no activation behind the output"),
        ("softmax module", "no activation behind the output"),
        ("relu behind", "no activation behind the output"),
        ("raw scores", "the loss's activation behind the output"),
    ],
)
def test_the_output_gets_the_activation_that_the_loss_wants(name: str, remedy: str) -> None:
    _, inputs, targets, loss = CASES[name]
    better = diagnose(remedied_case(name, remedy), inputs, targets, loss=loss)
    codes = {f.code for f in better.findings}
    assert "output-activation" not in codes


LOSSES: dict[str, tuple[nn.Module, Callable[..., Tensor], str]] = {
    "plain scores": (dense(6, 8, nn.ReLU(), 3), nn.NLLLoss(), "output-activation"),
    "sign": (dense(6, 8, nn.ReLU(), 3), lambda o, t: -nn.functional.cross_entropy(o, t), "loss"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_made_to_go_with_the_output(name: str) -> None:
    model, loss, code = LOSSES[name]
    with torch.no_grad():
        model[2].bias.add_(1.0)  # type: ignore[index,operator,union-attr]
    x, y = torch.randn(30, 6), torch.randint(3, (30,))
    result = diagnose(model, x, y, loss=loss)
    assert code in {f.code for f in result.findings}
    objective = Objective(x, y, loss)
    looked = anatomy(copy.deepcopy(model), objective, result)
    (one,) = [t for t in treatments(looked) if t.of_loss]
    changed = one.treated(objective).loss
    assert torch.allclose(changed(model(x), y), nn.functional.cross_entropy(model(x), y))  # type: ignore[misc]
    assert code not in {f.code for f in diagnose(model, x, y, loss=changed).findings}


def test_a_loss_of_its_own_is_not_exchanged() -> None:
    model, _, _ = LOSSES["plain scores"]
    x, y = torch.randn(30, 6), torch.randint(3, (30,))
    loss = lambda o, t: 2 * nn.functional.nll_loss(o, t)  # noqa: E731
    looked = anatomy(copy.deepcopy(model), Objective(x, y, loss), diagnose(model, x, y, loss=loss))
    assert not any(t.of_loss for t in treatments(looked))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("large inputs", "inputs standardised"), ("large targets", "targets standardised")],
)
def test_numbers_of_another_scale_are_standardised(name: str, remedy: str) -> None:
    model, inputs, targets, _ = CASES[name]
    output = remedied_case(name, remedy)(inputs)
    if name == "large targets":
        assert float((output - targets).detach().square().mean()) < 10 * float(targets.var())
    else:
        plain = copy.deepcopy(model)((inputs - inputs.mean(0)) / inputs.std(0, correction=0))
        assert torch.allclose(output, plain, atol=1e-2)


def test_a_finding_names_what_is_tried_first() -> None:
    first = [next(name for name, _ in in_order([code])) for code in ("dead", "inputs", "targets")]
    assert first == ["He initialisation", "inputs standardised", "targets standardised"]


@pytest.mark.parametrize(
    ("cost", "steps", "networks"), [(1e-6, 200, 9), (4e-3, 52, 9), (0.01, 24, 5), (0.06, 0, 0)]
)
def test_a_slow_step_cuts_steps_then_remedies(cost: float, steps: int, networks: int) -> None:
    found = Plan(work=2.0).fitting(3 * cost, cost, 9)
    assert (found.steps, found.networks) == (steps, networks)
    assert Plan(steps=70).fitting(3 * cost, cost, 9) == Pace(70, 9)


# --- built-in networks ------------------------------------------------------------------------


def test_the_best_remedy_of_a_built_in_network_trains(run_json: Callable[..., Any]) -> None:
    base = ["diagnose", "--act", "sigmoid", "--width", "32", "--depth", "5", "--device", "cpu"]
    found = run_json(*base, "--trial-steps", "30")
    losses = [row["trained_loss"] for row in found["remedies"]]
    assert losses == sorted(losses)
    assert losses[0] < 0.7 * found["untreated_loss"]
    assert found["untreated_loss"] == pytest.approx(math.log(10), rel=0.1)


@pytest.mark.parametrize(
    "base", ["--act sigmoid", "--arch rnn --spectral-radius 0.3 --depth 20"], ids=["mlp", "rnn"]
)
def test_what_is_typed_is_measured_again_as_it_was(base: str, run_json: Callable[..., Any]) -> None:
    common = ["diagnose", "--width", "8", "--depth", "8", "--batch-size", "16", "--device", "cpu"]
    typed = [*common, *shlex.split(base)]
    rows = run_json(*typed, "--no-train")["remedies"]
    options = [row for row in rows if row["options"].startswith("--")]
    assert len(options) >= 4
    for row in options[::3]:
        again = run_json(*typed, *shlex.split(row["options"]), "--no-remedies")
        assert again["rate"] == pytest.approx(row["rate"], rel=1e-6), row
        assert again["verdict"] == row["verdict"]


#: Networks of all kinds, as they are typed.
TYPED = [
    *(f"--act {act}" for act in ("sigmoid", "tanh", "gelu", "selu", "softplus", "silu")),
    "--act elu --alpha 0.3 --init he-normal --gain 6 --bias-mean -1",
    "--act elu --alpha 0.3 --weight-variance 0.05",
    "--act leaky-relu --alpha 0.1 --bias-variance 0.5",
    "--act relu --init he-normal --gain 5",
    "--norm layer --norm-position post --act tanh",
    "--norm batch --residual --init xavier-uniform",
    "--norm rms --init lecun-uniform --bias-variance 0",
    "--residual --act sigmoid --bias-mean 2",
    "--init orthogonal --gain 0.2 --dtype float64",
    *(f"--arch cnn {more}" for more in ("--act sigmoid", "--norm batch --residual", "--gain 3")),
    *(f"--arch resmlp {more}" for more in ("--act tanh", "--norm batch --norm-position post")),
    *(f"--arch transformer {more}" for more in ("", "--gain 1.5", "--norm-position post")),
    *(f"--arch rnn {more}" for more in ("", "--act relu", "--spectral-radius 0.3", "--gain 2")),
    *(f"--arch lstm {more}" for more in ("", "--bias-variance 0.2")),
    *(f"--arch gru {more}" for more in ("", "--spectral-radius 0.9 --init he-normal")),
]


@functools.cache
def command_line() -> Any:
    return get_command(app)


@pytest.mark.parametrize("base", TYPED)
def test_the_options_and_the_lines_make_what_was_measured(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[NetworkConfig] = []
    monkeypatch.setattr(
        diagnosis, "diagnose", lambda config, **_: read.append(config) or NOTHING, raising=False
    )

    def typed(options: str) -> NetworkConfig:
        common = ["diagnose", "--width", "8", "--depth", "3", "--batch-size", "6"]
        with pytest.raises(SystemExit, match="0"):
            command_line().main([*common, *shlex.split(options)])
        return read.pop()

    config = typed(f"{base} --device cpu")
    found = [one for one in changes(config, NOTHING) if one.loop is None]
    assert len(found) >= 4
    for one in found:
        assert typed(f"{base} --device cpu {options(config, one.config)}") == one.config
        lines = torch_lines(one.config)
        if lines and config.dtype == "float32":
            assert_same_network(one.config, lines)


def assert_same_network(config: NetworkConfig, lines: str) -> None:
    data = batch(config, torch.float32, CPU)
    ours = build(config, data.inputs.shape[-1], data.classes, torch.float32, CPU)
    plain = run_lines(lines, nn.Identity())
    assert torch.allclose(
        ours(data.inputs.unsqueeze(0))[0], plain(data.inputs), rtol=1e-3, atol=1e-4
    )


NETWORKS: list[dict[str, Any]] = [
    {"norm": "batch", "residual": True},
    {"norm": "rms", "norm_position": "post", "init": "xavier-uniform"},
    {"norm": "layer", "norm_position": "post", "residual": True, "bias_mean": -1.0},
    {"arch": "cnn", "norm": "layer", "residual": True, "init": "orthogonal"},
    {"arch": "cnn", "norm": "batch", "data": "mnist"},
    {"arch": "resmlp", "norm": "batch", "norm_position": "post", "init": "lecun-uniform"},
    {"arch": "transformer", "init": "xavier-normal", "gain": 1.5},
    {"arch": "transformer", "norm_position": "post", "act": "gelu", "depth": 2},
    {"arch": "rnn", "act": "relu", "init": "orthogonal", "spectral_radius": 1.0},
    {"arch": "lstm", "bias_variance": 0.2},
    {"arch": "gru", "spectral_radius": 0.9, "init": "he-normal"},
]


@pytest.mark.parametrize("options", NETWORKS, ids=lambda o: " ".join(map(str, o.values())))
def test_a_built_in_network_in_plain_torch_is_the_same(options: dict[str, Any]) -> None:
    config = NetworkConfig(
        **{"depth": 3, "width": 8, "batch_size": 6, "seed": 4, "device": "cpu"} | options
    )
    data = batch(config, torch.float32, CPU)
    lines = source(config, data.inputs.shape[-1], data.classes)
    assert lines is not None
    assert_same_network(config, lines)


def test_what_torch_has_no_module_for_has_no_lines() -> None:
    for other in ({"arch": "rnn", "act": "gelu"}, {"arch": "cnn", "norm": "rms"}):
        config = NetworkConfig(depth=2, width=4, device="cpu", **other)  # type: ignore[arg-type]
        features = batch(config, torch.float32, CPU).inputs.shape[-1]
        assert source(config, features, 10) is None


def test_a_healthy_network_gets_none() -> None:
    config = NetworkConfig(device="cpu", init="he-normal", width=128)
    assert diagnose(config, remedies=True).remedies == ()


def test_clipping_is_tried_where_it_explodes_and_does_not_change_the_rate() -> None:
    config = NetworkConfig(device="cpu", init="he-normal", gain=5, width=16)
    result = diagnose(config, remedies=True, trial_steps=3)
    (clipping,) = [row for row in result.remedies if row.remedy.startswith("clipping")]
    assert clipping.rate == result.rate
    assert clipping.trained_loss is not None


# --- the command ------------------------------------------------------------------------------


def test_apply_writes_the_remedied_network(run: Callable[..., Any]) -> None:
    base = ["diagnose", "--act", "sigmoid", "--width", "16", "--depth", "6", "--device", "cpu"]
    done = run(*base, "--no-train", "--apply", "better.py")
    assert done.exit_code == 0, done.stderr
    assert "wrote better.py" in done.stderr
    shape = ["--input-shape", "16", "--batch-size", "64"]
    again = run("diagnose", "--model", "better.py:build", *shape, "--no-remedies")
    assert again.stdout.startswith("Healthy"), again.stderr
    assert run(*base, "--no-train", "--apply", "better.py").exit_code == 0


MINE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    layers = [m for _ in range(6) for m in (nn.Linear(8, 8), nn.Sigmoid())]
    x = torch.randn(40, 8)
    return nn.Sequential(*layers, nn.Linear(8, 3)), x, x[:, :3].argmax(1)
"""
TREATED = """
from own_sigmoids import build
from mended import treat

def treated():
    model, *data = build()
    return treat(model), *data
"""


def test_apply_writes_what_treats_the_users_model(run: Callable[..., Any]) -> None:
    run("activations")  # moves to the empty folder
    Path("own_sigmoids.py").write_text(MINE, encoding="utf-8")
    Path("treated.py").write_text(TREATED, encoding="utf-8")
    done = run("diagnose", "--model", "own_sigmoids.py:build", "--no-train", "--apply", "mended.py")
    assert done.exit_code == 0, done.stderr
    assert "in torch:" in done.stdout
    again = run("diagnose", "--model", "treated.py:treated", "--no-remedies")
    assert again.stdout.startswith("Healthy"), again.stderr


@pytest.mark.parametrize(
    ("lines", "calls", "kind"),
    [
        (LOOPS["warm-up"].lines(None, Plan().rates()), "optimizer_of(model)[1]", "LinearLR"),
        (LOOPS["Adam's ε at 1e-15"].lines(None, Plan().rates()), "optimizer_of(model)", "Adam"),
        (LOOPS["clipping (norm 1)"].lines(None, Plan().rates()), "clip(model)", "NoneType"),
        ("loss = torch.nn.BCELoss()", "fitting(None)", "BCELoss"),
    ],
)
def test_apply_writes_what_changes_no_network(
    lines: str, calls: str, kind: str, tmp_path: Path
) -> None:
    row = RemedyRow(remedy="one", verdict="healthy", rate=1.0, decades=0.0, torch=lines)
    written = remedied.write(replace(NOTHING, remedies=(row,)), tmp_path / "it.py")
    assert written == row
    names: dict[str, Any] = {"model": nn.Linear(2, 2)}
    exec((tmp_path / "it.py").read_text(encoding="utf-8"), names)
    assert type(eval(calls, names)).__name__ == kind


def test_apply_refuses_what_it_may_not_write(refused: Callable[..., str]) -> None:
    command = ["diagnose", "--depth", "3", "--width", "4", "--apply"]
    assert ".py" in refused(*command, "out.txt")
    assert "no folder" in refused(*command, "missing/out.py")
    assert "--no-remedies" in refused(*command, "out.py", "--no-remedies")
    Path("own.py").write_text("mine = 1\n", encoding="utf-8")
    assert "did not write it" in refused(*command, "own.py")
    assert Path("own.py").read_text(encoding="utf-8") == "mine = 1\n"


def test_the_measured_table_is_printed_once(run: Callable[..., Any]) -> None:
    options = ["--act", "sigmoid", "--width", "8", "--depth", "6", "--device", "cpu", "--no-train"]
    text = run("diagnose", *options).stdout
    assert text.startswith("Theory: ")
    assert text.count("\nVanishing") == 1
    assert text.count("hidden1") == text.count("Vanishing") == text.count("✗ vanishing") == 1
    assert text.index("output") < text.index("✗ vanishing") < text.index("Remedies, each")


def test_a_healthy_network_has_nothing_to_apply(run: Callable[..., Any]) -> None:
    done = run("diagnose", "--depth", "2", "--width", "8", "--apply", "out.py")
    assert done.exit_code == 0
    assert "nothing to remedy" in done.stderr
    assert not Path("out.py").exists()


def test_every_remedy_does_something_to_some_network() -> None:
    configs = [NetworkConfig(act="sigmoid", weight_variance=3.0), NetworkConfig(arch="rnn")]
    for name, remedy in REMEDIES.items():
        if remedy.loop is not None:
            assert remedy.loop != PLAIN
            continue
        changed = [remedy.change(c) for c in configs] if remedy.change else []
        code = remedy.code or remedy.loss
        written = code is not None and any(code(looked_at(case)) is not None for case in CASES)
        assert any(changed) or written, name
