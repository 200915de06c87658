"""`clip`: the first gradient under every policy, and training under all of them at once."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from support.gpu import NEEDS_CUDA
from torch import nn

from gradflow.clipping import tasks
from gradflow.clipping.policies import clipping
from gradflow.clipping.replicas import Replicas, layers_of
from gradflow.clipping.run import clip
from gradflow.clipping.tasks import network_for
from gradflow.clipping.training import Training, TrainingCurves
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.network import NetworkConfig
from gradflow.configs.policies import POLICIES
from gradflow.configs.tasks import TASKS
from gradflow.errors import GradflowError
from gradflow.networks.architectures import ReplicatedLinear
from gradflow.results.clipping import ClipResult

ALL = tuple(POLICIES)
SMALL: dict[str, Any] = {"device": "cpu", "width": 8, "batch_size": 4, "seeds": 2}


def run(
    steps: int = 5, policy: tuple[str, ...] = ("none", "value", "norm"), **net: Any
) -> ClipResult:
    network = NetworkConfig(
        **{"device": "cpu", "depth": 4, "width": 16, "init": "he-normal", **net}
    )
    return clip(network, ClipConfig(steps=steps, policy=policy))


def on(name: str, network: dict[str, Any] | None = None, **config: Any) -> ClipResult:
    """Run a sequence task in little."""
    own = {**SMALL, **(network or {})}
    made = network_for(name, NetworkConfig(**own), own)
    return clip(made, ClipConfig(**{"task": name, "steps": 3, **config}))


# One gradient


def test_every_policy_sees_the_same_first_gradient() -> None:
    result = run(gain=2)
    assert len({row.norm_before for row in result.records}) == 1
    assert len({row.loss for row in result.history if row.step == 1}) == 1
    none, value, norm = result.records
    assert none.norm_after == none.norm_before
    assert none.cosine == pytest.approx(1)
    assert norm.norm_after == pytest.approx(0.5, rel=1e-4)  # torch divides by norm + 1e-6
    assert norm.cosine == pytest.approx(1, abs=1e-6)
    assert value.cosine < norm.cosine
    assert 0 < value.clipped_fraction < norm.clipped_fraction  # scaling touches all but zeros
    assert (none.layers_touched, norm.layers_touched) == (0, 1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_layer_shares_add_up_to_the_whole(seeds: int) -> None:
    result = run(gain=2, policy=ALL, steps=0, seeds=seeds)
    for policy in POLICIES:
        rows = [row for row in result.layers if row.policy == policy]
        assert [row.index for row in rows] == [1, 2, 3, 4, 5]
        assert sum(row.share for row in rows) == pytest.approx(1)
        assert sum(row.share_before for row in rows) == pytest.approx(1)
        if seeds == 1:
            total = math.sqrt(sum(row.norm**2 for row in rows))
            summary = next(row for row in result.records if row.policy == policy)
            assert total == pytest.approx(summary.norm_after)


def test_scaling_layer_by_layer_moves_shares_and_scaling_the_whole_does_not() -> None:
    result = run(gain=2, policy=("norm", "layer-norm:0.5"), steps=0)
    whole, own = ([r for r in result.layers if r.policy == p] for p in ("norm", "layer-norm:0.5"))
    assert [r.share for r in whole] == pytest.approx([r.share_before for r in whole])
    assert [r.share for r in own] == pytest.approx([1 / 5] * 5, rel=1e-4)  # all at the threshold
    assert all(r.cosine == pytest.approx(1) for r in own)
    row = result.records[1]
    assert row.cosine is not None
    assert row.cosine < 0.99


def test_no_steps_measure_only() -> None:
    result = run(steps=0)
    assert result.history == ()
    assert all(row.final_loss is None and row.diverged is None for row in result.records)


# Training


def test_it_trains_as_a_plain_loop_of_torch_does() -> None:
    """The same weights and batches through `nn.LSTM`, autograd and torch's clipping."""
    name, network = "adding", {**SMALL, "arch": "lstm", "seeds": 1, "lr": 0.1, "dtype": "float64"}
    config = ClipConfig(task=name, steps=6, policy=("norm", "value"), threshold=0.05)
    made = network_for(name, NetworkConfig(**network), network)
    result = clip(made, config)
    for policy in config.policy:
        assert [r.loss for r in result.history if r.policy == policy] == pytest.approx(
            plain_losses(made, config, policy),
            rel=1e-5,  # torch's own adds 1e-6 to the norm
        )


def plain_losses(network: NetworkConfig, config: ClipConfig, policy: str) -> list[float]:
    problem = tasks.problem(network, config)
    lstm = nn.LSTM(2, network.width, batch_first=True, dtype=torch.float64)
    output = nn.Linear(network.width, 1, dtype=torch.float64)
    modules = nn.ModuleList([lstm, output])
    with torch.no_grad():
        for own, whole in zip(modules.parameters(), problem.model.parameters(), strict=True):
            own.copy_(whole[0])
    update, losses = torch.optim.SGD(modules.parameters(), network.lr), []
    for step in range(config.steps or 0):
        inputs, targets = problem.batch(step)
        loss = nn.functional.mse_loss(output(lstm(inputs[0])[0][:, -1])[:, 0], targets[0])
        update.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        how = nn.utils.clip_grad_norm_ if policy == "norm" else nn.utils.clip_grad_value_
        how(modules.parameters(), config.threshold)
        update.step()
        losses.append(loss.item())
    return losses


def test_norm_scaling_below_its_threshold_trains_exactly_as_no_clipping() -> None:
    network = NetworkConfig(device="cpu", depth=3, width=16, seeds=2)
    result = clip(network, ClipConfig(threshold=1e9, steps=8, policy=("none", "norm")))
    losses = {
        policy: [row.loss for row in result.history if row.policy == policy]
        for policy in ("none", "norm")
    }
    assert losses["none"] == losses["norm"]
    assert losses["none"][-1] < losses["none"][0]


@pytest.mark.parametrize("arch", ["rnn", "lstm", "gru"])
def test_a_seed_trains_the_same_alone_and_in_company(arch: str) -> None:
    together = on("copy", {"arch": arch, "seeds": 3, "dtype": "float64"}, policy=("norm",))
    alone = on("copy", {"arch": arch, "seeds": 1, "seed": 2, "dtype": "float64"}, policy=("norm",))
    low, high = together.history[-1].loss_low, together.history[-1].loss_high
    others = [
        on("copy", {"arch": arch, "seeds": 1, "seed": s, "dtype": "float64"}, policy=("norm",))
        for s in (0, 1)
    ]
    each = sorted(result.history[-1].loss for result in (alone, *others))
    assert [low, together.history[-1].loss, high] == pytest.approx(each, rel=1e-9)


def test_divergence_is_found_with_its_step_and_clipping_by_norm_prevents_it() -> None:
    result = run(steps=30, gain=3, lr=1.0, act="leaky-relu")
    rows = {row.policy: row for row in result.records}
    assert rows["none"].diverged
    assert rows["none"].final_loss == math.inf
    assert rows["none"].outcome == "diverges"
    assert rows["none"].engaged_fraction == 0
    assert not rows["norm"].diverged
    ended = max(row.step for row in result.history if row.policy == "none")
    assert rows["none"].diverged_step == ended < 30
    (finding,) = [f for f in result.findings if f.code == "diverged" and "'none'" in f.message]
    assert f"at step {ended}" in finding.message


def test_zeroed_gradients_skip_the_step_and_leave_the_other_seeds_alone() -> None:
    fields = {"steps": 12, "policy": ("none",), "nonfinite": "zero"}
    network = NetworkConfig(
        device="cpu", depth=4, width=16, gain=3, lr=1.0, act="leaky-relu", init="he-normal", seeds=2
    )
    result = clip(network, ClipConfig(**fields))  # type: ignore[arg-type]
    assert [row.step for row in result.history] == list(range(1, 13))  # nothing was refused
    assert result.records[0].diverged  # the weights had blown up before


def curves(*losses: float, stopped: int = 0) -> TrainingCurves:
    column = np.array(losses)[:, None]
    return TrainingCurves(clipping("norm", 1), column, column, column, np.array([stopped]))


def test_divergence_needs_no_infinity() -> None:
    assert curves(1.0, 50, 0.5, 11, 12, 13).diverged_at(0.1) == [4]
    assert curves(1.0, 50, 60, 70, 9).diverged_at(0.1) == [None]
    assert curves(1.0, 50, 60).diverged_at(10.0) == [None]  # ten times chance is allowed
    assert curves(1.0, math.nan, stopped=2).diverged_at(0.1) == [2]
    assert curves(1.0, 50, 60).outcomes(0.1) == ["diverges"]


def test_stalled_is_what_ends_no_better_than_blind() -> None:
    assert curves(3.0, 1.0, 0.95).outcomes(1.0) == ["stalls"]
    assert curves(3.0, 1.0, 0.85).outcomes(1.0) == ["trains"]


def test_engagement_is_the_share_of_updates_that_were_clipped() -> None:
    result = run(steps=10, policy=("none", "norm:1e9", "norm:1e-3"))
    assert [row.engaged_fraction for row in result.records] == [0, 0, 1]
    assert "overclipped" in {f.code for f in result.findings}
    for row in result.history:
        assert row.norm_after <= row.norm_before


def test_an_interruption_keeps_what_was_done() -> None:
    def stop(what: str, step: int, steps: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    network = NetworkConfig(device="cpu", depth=2, width=8)
    result = clip(network, ClipConfig(steps=4), stop)
    for policy in ("none", "value", "norm"):
        assert len([r for r in result.history if r.policy == policy]) == 2
    assert result.findings[0].code == "interrupted"
    assert "2 of 4 steps" in result.findings[0].message
    assert all(row.final_loss is not None for row in result.records)


def test_an_interruption_before_the_first_step_keeps_the_first_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupts(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradflow.training.trainer.Trainer.step", interrupts)
    result = run(steps=3)
    assert result.findings[0].code == "interrupted"
    assert result.history == ()
    assert [row.final_loss for row in result.records] == [None] * 3


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_other_optimizers_keep_the_seeds_apart(name: str) -> None:
    both = on("adding", {"seeds": 2, "dtype": "float64"}, optimizer=name, policy=("none",))
    one = on("adding", {"seeds": 1, "dtype": "float64"}, optimizer=name, policy=("none",))
    assert one.history[-1].loss in (
        pytest.approx(both.history[-1].loss_low, rel=1e-9),
        pytest.approx(both.history[-1].loss_high, rel=1e-9),
    )


# Tasks


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_under_every_policy(name: str) -> None:
    given = {"width": 8, "batch_size": 4, "device": "cpu"}
    network = network_for(name, NetworkConfig(**given), given)  # type: ignore[arg-type]
    result = clip(network, ClipConfig(task=name, steps=2, policy=ALL))
    assert [row.policy for row in result.records] == list(ALL)
    assert len(result.history) == 2 * len(ALL)
    assert all(math.isfinite(row.loss) for row in result.history)
    assert len({row.loss for row in result.history if row.step == 1}) == 1
    assert bool(result.flow) == (name in ("adding", "copy", "mnist-rows"))
    assert ClipResult.from_dict(result.to_dict()) == result


def test_vanishing_gradients_are_not_cured_and_it_says_so() -> None:
    result = run(steps=0, depth=12, act="sigmoid", policy=("none", "norm:1e-3", "value:1e-4"))
    (finding,) = [f for f in result.findings if f.code == "vanishing"]
    assert "does not cure vanishing gradients" in finding.message
    assert "10^" in finding.message
    first, last = result.layers[0], result.layers[12]
    scaled = [row for row in result.layers if row.policy == "norm:1e-3"]
    assert scaled[0].norm / scaled[12].norm == pytest.approx(first.norm / last.norm, rel=1e-4)


def test_the_gradient_fades_over_the_steps_of_a_sequence() -> None:
    result = on("adding", {"arch": "rnn", "width": 16, "spectral_radius": 0.3}, sequence_length=40)
    logs = [row.gradient_log10 for row in result.flow]
    assert len(logs) == 40
    # The state's Jacobian is W′diag(φ′): its spectral radius is at most 0.3 for small states.
    assert (logs[-1] - logs[5]) / 34 > -math.log10(0.3) - 0.1
    assert any(f.code == "vanishing" for f in result.findings)


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "task": ({}, {"task": "addition"}, "unknown task 'addition'"),
    "policy": ({}, {"policy": ("nrom",)}, "unknown policy 'nrom'"),
    "optimizer": ({}, {"optimizer": "sdg"}, "unknown optimizer 'sdg'"),
    "mixing optimizer": ({}, {"optimizer": "adafactor"}, "mixes entries"),
    "nonfinite": ({}, {"nonfinite": "ignore"}, "unknown treatment"),
    "arch": ({}, {"task": "adding"}, "unknown architecture of a sequence task 'mlp'"),
    "length": ({"arch": "rnn"}, {"task": "copy", "sequence_length": 10}, "at least 11"),
    "length of mlp": ({}, {"sequence_length": 10}, "does not apply to task 'mlp'"),
    "radius of mlp": ({"spectral_radius": 1.0}, {}, "spectral"),
    "rows": ({"arch": "rnn"}, {"task": "mnist-rows", "sequence_length": 9}, "does not apply"),
    "suggest for a policy": ({}, {"suggest": True, "policy": ("value",)}, "not --policy value"),
    "few steps": ({}, {"suggest": True, "steps": 5}, "needs at least 10 --steps"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_done_is_refused(case: str) -> None:
    network, config, says = BAD[case]
    with pytest.raises(GradflowError, match=says):
        clip(NetworkConfig(**network), ClipConfig(**config))


def test_an_option_that_means_nothing_to_a_task_is_refused() -> None:
    with pytest.raises(GradflowError, match="--residual does not apply to task 'adding'"):
        network_for("adding", NetworkConfig(residual=True), {"residual"})


def test_parameters_are_grouped_by_their_module() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    assert {name: len(p) for name, p in layers_of(model).items()} == {"0": 2, "1": 2, "2": 2}


def test_a_model_without_replicas_is_refused() -> None:
    problem = tasks.problem(NetworkConfig(device="cpu", width=4, depth=1), ClipConfig())
    with pytest.raises(GradflowError, match="no replicas"):
        Training(problem, [clipping("none", 1)], 3, 0.1)


# Placement


def test_gradients_of_replicas_stay_on_their_device() -> None:
    """On torch's meta device a tensor left on the CPU raises; norms and views must not."""
    model = ReplicatedLinear(3, 2, 4, torch.float32).to("meta")
    model.weight.grad, model.bias.grad = (
        torch.empty_like(model.weight),
        torch.empty_like(model.bias),
    )
    replicas = Replicas(model, 3)
    replicas.take_gradients([0, 2])
    assert {p.grad.device.type for p in replicas.layers[2][0] if p.grad is not None} == {"meta"}
    assert replicas.norms().device.type == "meta"


@pytest.mark.cuda
@NEEDS_CUDA
@pytest.mark.parametrize("arch", ["rnn", "lstm", "gru"])
def test_a_gpu_has_the_losses_of_the_cpu(arch: str) -> None:
    """float64, so that 1e-6 is far above the rounding of other kernels."""
    fields = {"arch": arch, "dtype": "float64"}
    cpu, gpu = (on("copy", {**fields, "device": device}, policy=ALL) for device in ("cpu", "cuda"))
    assert [r.loss for r in gpu.history] == pytest.approx([r.loss for r in cpu.history], rel=1e-6)


# In words


def test_policies_that_end_alike_are_named_together() -> None:
    result = run(steps=3, policy=("none", "norm:1e9", "value:1e-5"))
    raw, unused, _ = result.records
    assert raw.final_loss == unused.final_loss
    assert "steps: 'none' and 'norm:1e9' alike, " in result.title


def test_the_title_says_how_many_seeds_diverge() -> None:
    row = dataclasses.replace(run(steps=1).records[0], final_loss=1.0, seeds=5)
    some = dataclasses.replace(row, diverged=True, diverged_seeds=2)
    all_of_them = dataclasses.replace(some, policy="norm", diverged_seeds=5)
    title = ClipResult(records=(some, all_of_them), steps=9).title
    assert "Under 'none' training diverges in 2 of 5 seeds" in title
    assert "Under 'norm' training diverges." in title


def test_a_policy_that_does_nothing_is_named_beside_one_that_does() -> None:
    result = run(steps=0, policy=("norm:1e9", "value:1e-5"))
    (finding,) = [f for f in result.findings if f.code == "idle"]
    assert finding.message.startswith("nothing was clipped under 'norm:1e9': the largest norm")
    assert result.title.startswith("value:1e-5 turns the gradient")  # no threshold that none has


def test_vanishing_under_many_policies_is_said_in_a_line() -> None:
    policies = tuple(f"norm:{10.0**k:g}" for k in range(-9, 0))
    result = run(steps=0, depth=12, act="sigmoid", policy=("none", *policies))
    (finding,) = [f for f in result.findings if f.code == "vanishing"]
    assert "under any of 9 policies" in finding.message
    assert len(finding.message) < 200
