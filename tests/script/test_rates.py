"""`gradflow lr SCRIPT`: the program's own model, batch, loss and optimizer, on copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import gradflow
from gradflow.cli.app import app
from gradflow.errors import GradflowError
from gradflow.results.learning_rate import LearningRateResult
from gradflow.script.program import Program
from gradflow.script.rates import RateRun

HEAD = """
import sys, torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(32, 8)
y = x[:, :3].argmax(1)
"""
PLAIN = (
    HEAD
    + """
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-7, momentum=0.9)
print("begun")
for step in range(3):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    print("stepped")
"""
)
#: What the first step's loss is made of, in programs of many kinds.
PROGRAMS = {
    "a closure": """
model = nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def closure():
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss
for _ in range(3):
    optimizer.step(closure)
""",
    "gradients accumulated, two modules, a penalty, dropout": """
encoder = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))
nn.init.kaiming_normal_(encoder[0].weight)
decoder = nn.Linear(16, 8)
parameters = [*encoder.parameters(), *decoder.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
for _ in range(3):
    for part in range(4):
        x = torch.randn(16, 8)
        loss = (decoder(encoder(x)) - x).square().mean()
        loss = loss + 1e-2 * sum(p.norm() for p in parameters)
        loss /= 4
        loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 0.1)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
""",
    "no module": """
weight = (torch.randn(8, 3) * 0.3).requires_grad_()
optimizer = torch.optim.Adam([weight], lr=1e-3)
for _ in range(3):
    out = torch.zeros(32, 3)
    out[:] = torch.tanh(x @ weight)
    optimizer.zero_grad()
    (out - 1).square().mean().backward()
    optimizer.step()
""",
    "two optimizers": """
one, other = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
first = torch.optim.Adam(other.parameters(), lr=1e-3)
second = torch.optim.Adam(one.parameters(), lr=1e-3)
for _ in range(3):
    made = one(torch.randn(32, 4))
    first.zero_grad()
    (nn.functional.softplus(other(made.detach())) - other(x)).mean().backward()
    first.step()
    second.zero_grad()
    (-other(made)).mean().backward()
    second.step()
""",
    "a penalty on the gradient of an input": """
critic = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
for _ in range(3):
    point = torch.randn(32, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(point).sum(), point, create_graph=True)
    optimizer.zero_grad()
    ((slope.norm(dim=1) - 1).square().mean() + 0.1 * critic(x).mean()).backward()
    optimizer.step()
""",
    "a module that returns a distribution": """
class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)
    def forward(self, x):
        return torch.distributions.Categorical(logits=self.inner(x))
policy = Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
for _ in range(3):
    drawn = policy(x)
    action = drawn.sample()
    optimizer.zero_grad()
    (-(drawn.log_prob(action) * (action == y)).mean() - 0.01 * drawn.entropy().mean()).backward()
    optimizer.step()
""",
    "a GradScaler": """
model = nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for _ in range(3):
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
""",
}


def result_of(folder: Path, source: str, *arguments: str) -> LearningRateResult | None:
    program = folder / "train.py"
    program.write_text(source)
    return RateRun(Program(str(program), arguments)).run()


def test_the_rate_is_that_of_the_same_model_batch_and_optimizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result_of(tmp_path, PLAIN)
    assert capsys.readouterr().out == "begun\n"
    space: dict[str, Any] = {}
    exec(PLAIN.split("print")[0], space)
    own = gradflow.learning_rate(
        space["model"], space["x"], space["y"], optimizer=space["optimizer"]
    )
    assert found is not None
    assert found.in_use == 1e-7
    assert found.records == own.records
    assert (found.suggested, found.largest_stable) == (own.suggested, own.largest_stable)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_programs_of_many_kinds(tmp_path: Path, kind: str) -> None:
    """The loss on copies is the program's, or the test is refused (see `_Again.compare`)."""
    found = result_of(tmp_path, HEAD + PROGRAMS[kind])
    assert found is not None
    assert found.suggested is not None
    assert found.start is not None
    assert min(row.loss for row in found.records) < found.start


def test_a_scale_of_the_loss_is_none_of_the_rates(tmp_path: Path) -> None:
    plain = PROGRAMS["a GradScaler"].replace('"cpu")\nfor', '"cpu", enabled=False)\nfor')
    rates = [result_of(tmp_path, HEAD + p) for p in (PROGRAMS["a GradScaler"], plain)]
    scaled, unscaled = (rate.estimate if rate is not None else None for rate in rates)
    assert scaled == pytest.approx(unscaled, rel=0.02)


def test_nothing_of_the_program_is_changed(tmp_path: Path) -> None:
    """At the end its weights, buffers and random numbers are those before the step."""
    kept = tmp_path / "kept.pt"
    source = PLAIN.replace("for step", "before = torch.get_rng_state()\nfor step").replace(
        "    optimizer.step()\n",
        "    own = [p.detach().clone() for p in model.parameters()]\n"
        "    try:\n        optimizer.step()\n    finally:\n"
        "        same = all(torch.equal(a, b) for a, b in zip(own, model.parameters()))\n"
        "        same &= torch.equal(before, torch.get_rng_state())\n"
        "        same &= not optimizer.state\n"
        f"        torch.save(same, {str(kept)!r})\n",
    )
    assert result_of(tmp_path, source) is not None
    assert torch.load(kept) is True


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('none')", "ended without a training step"),
        (
            "class Twice(torch.autograd.Function):\n"
            "    @staticmethod\n    def forward(ctx, x):\n        return 2 * x\n"
            "    @staticmethod\n    def backward(ctx, g):\n        return 2 * g\n"
            "model = nn.Linear(8, 3)\n"
            "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
            "Twice.apply(model(x)).square().mean().backward()\n"
            "optimizer.step()\n",
            "cannot be computed again on copies",
        ),
        (
            "model = nn.Linear(8, 3)\n"
            "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
            "model(x).square().mean().backward()\n"
            "for p in model.parameters():\n    p.grad.neg_()\n"
            "optimizer.step()\n",
            "its gradient is another one there",
        ),
    ],
)
def test_what_cannot_be_tested_is_said_in_a_line(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(GradflowError, match=said):
        result_of(tmp_path, HEAD + source)
    assert nn.Module.__call__.__module__.startswith("torch")


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["lr", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_command(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(PLAIN)
    code, out, err = run("--json", "--fail-on", "step-size", str(program), "--lr", "of the program")
    document = json.loads(out)
    assert code == 1
    assert "begun" in err
    assert [f["code"] for f in document["findings"]] == ["step-size"]
    assert document["meta"]["command"].endswith("train.py --lr of the program")


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise ValueError('no data')", 1, "ValueError: no data"),
        ("print('none')", 2, "error: the program ended without a training step"),
    ],
)
def test_a_program_that_ends_before_its_first_step(
    tmp_path: Path, source: str, code: int, said: str
) -> None:
    program = tmp_path / "train.py"
    program.write_text(source)
    found, _, err = run(str(program))
    assert found == code
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--depth", "3", "SCRIPT"), "--depth does not go with a program"),
        (("--optimizer", "sgd", "SCRIPT"), "--optimizer does not go with a program"),
        (("nowhere.py",), "there is no file 'nowhere.py'"),
        (("-m",), "-m needs the name of a module"),
    ],
)
def test_what_does_not_go_with_a_program(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    program = tmp_path / "train.py"
    program.write_text(PLAIN)
    code, out, err = run(*(str(program) if a == "SCRIPT" else a for a in arguments))
    assert (code, out) == (2, "")
    assert said in err
