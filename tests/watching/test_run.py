"""watch(): what it records of a training loop, against plain autograd, and what it leaves."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.errors import GradflowError
from gradflow.report import jsonfile
from gradflow.results.watching import WatchResult
from gradflow.watching.run import Watch


def network(act: type[nn.Module] = nn.Tanh, depth: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [m for _ in range(depth) for m in (nn.Linear(8, 8), act())]
    return nn.Sequential(*layers, nn.Linear(8, 3))


def batches(count: int, examples: int = 16) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(examples, 8, generator=generator),
            torch.randint(3, (examples,), generator=generator),
        )
        for _ in range(count)
    ]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: list[tuple[Tensor, Tensor]],
    clip: float | None = None,
    after_backward: Callable[[], None] = lambda: None,
) -> None:
    for inputs, labels in data:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        after_backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


def linears(model: nn.Module) -> list[nn.Linear]:
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def logs(result: WatchResult, field: str = "gradient_log10_norm") -> dict[tuple[int, int], float]:
    return {(row.step, row.index): getattr(row, field) for row in result.history}


def truth(model: nn.Module, data: list[Any], **kwargs: Any) -> list[list[float]]:
    """Norms of every layer's weight gradient at every step of the same loop, by hand."""
    found: list[list[float]] = []
    model = copy.deepcopy(model)
    train(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        data,
        after_backward=lambda: found.append(
            [float(m.weight.grad.double().norm()) for m in linears(model)]
        ),
        **kwargs,
    )
    return found


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("given", [False, True], ids=["any optimizer", "this optimizer"])
def test_the_history_is_plain_autograds(every: int, given: bool) -> None:
    model, data = network(), batches(7)
    expected = truth(model, data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model, every=every, optimizer=optimizer if given else None) as w:
        train(model, optimizer, data)
    result = w.result()
    assert result.seen == 7
    steps = [s.step for s in result.steps]
    assert steps == list(range(1, 8, every))
    for (step, index), log in logs(result).items():
        assert 10**log == pytest.approx(expected[step - 1][index - 1], rel=1e-6)
    for step in result.steps:  # of all parameters, biases included
        assert step.norm_before > math.hypot(*expected[step.step - 1])
        assert not step.clipped


def test_watching_changes_no_number_of_the_training() -> None:
    models = [network(), network()]
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in models]
    train(models[0], optimizers[0], batches(5), clip=0.5)
    with gradflow.watch(models[1], every=2):
        train(models[1], optimizers[1], batches(5), clip=0.5)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def hooks_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

    return [
        *((len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()),
        *(len(p._post_accumulate_grad_hooks or {}) for p in model.parameters()),
        len(optimizer._optimizer_step_pre_hooks),
        len(optimizer._optimizer_step_post_hooks),
        len(_global_optimizer_pre_hooks),
        len(_global_optimizer_post_hooks),
    ]


def test_every_hook_is_gone_afterwards_even_after_an_error() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = hooks_of(model, optimizer)
    wrong = [*batches(1), (torch.randn(2, 5), torch.zeros(2))]
    with pytest.raises(RuntimeError, match="shapes"), gradflow.watch(model):
        train(model, optimizer, wrong)
    assert hooks_of(model, optimizer) == before


@pytest.mark.parametrize("clip", ["norm", "value"])
def test_clipping_is_seen_with_how_often_and_by_how_much(clip: str) -> None:
    model, data = network(), batches(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms: list[tuple[float, float]] = []

    def total() -> float:
        return float(nn.utils.get_total_norm([p.grad for p in model.parameters()]))

    with gradflow.watch(model) as w:
        for step, (inputs, labels) in enumerate(data):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            before = total()
            threshold = before / 4 if step % 3 == 0 else before * 2  # engages at steps 1 and 4
            if clip == "norm":
                nn.utils.clip_grad_norm_(model.parameters(), threshold)
            else:
                nn.utils.clip_grad_value_(
                    model.parameters(), threshold / 50 * (1 + 50 * (step % 3))
                )
            norms.append((before, total()))
            optimizer.step()
    result = w.result()
    assert [s.clipped for s in result.steps] == [True, False, False, True, False, False]
    for step, (before, after) in zip(result.steps, norms, strict=True):
        assert step.norm_before == pytest.approx(before, rel=1e-6)
        assert step.norm_after == pytest.approx(after, rel=1e-6)
    assert result.clip_rate == pytest.approx(1 / 3)
    cut = sorted(after / before for before, after in (norms[0], norms[3]))
    assert result.clip_factor == pytest.approx(sum(cut) / 2, rel=1e-5)
    assert "engaged in 33%" in result.title


def test_clipping_every_step_is_a_finding() -> None:
    model = network()
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(4), clip=1e-3)
    assert "clipping" in {f.code for f in w.result().findings}


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_update_ratios_are_what_the_optimizer_did(optimizer: Any) -> None:
    model, data = network(), batches(3)
    own = optimizer(model.parameters(), lr=0.05)
    ratios = []
    with gradflow.watch(model) as w:
        for one in data:
            old = [m.weight.detach().double().clone() for m in linears(model)]
            train(model, own, [one])
            new = [m.weight.detach().double() for m in linears(model)]
            ratios.append([float((n - o).norm() / o.norm()) for n, o in zip(new, old, strict=True)])
    for (step, index), ratio in logs(w.result(), "update_ratio").items():
        # A float32 weight near 0.3 is known to 2⁻²⁶; its change here is about a hundredth of it.
        assert ratio == pytest.approx(ratios[step - 1][index - 1], rel=1e-4)


def test_activations_and_delta_are_plain_autograds() -> None:
    model, ((inputs, labels),) = network(nn.ReLU), batches(1)
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.0), [(inputs, labels)])
    x, zs, outputs = inputs.double(), [], []
    for module in copy.deepcopy(model).double():
        x = module(x)
        (zs if isinstance(module, nn.Linear) else outputs).append(x)
        x.retain_grad()
    F.cross_entropy(x, labels).backward()
    rows, outputs = w.result().records, [a.detach() for a in outputs]
    for row, z in zip(rows, zs, strict=True):
        assert 10**row.delta_log10_rms == pytest.approx(float(z.grad.square().mean().sqrt()), 1e-5)
    for row, a in zip(rows, outputs, strict=False):
        assert row.activation_mean == pytest.approx(float(a.mean()), rel=1e-5)
        assert row.activation_rms == pytest.approx(float(a.square().mean().sqrt()), rel=1e-5)
        assert row.zero_fraction == pytest.approx(float((a == 0).double().mean()))
        dead = (a == 0).all(0).double().mean()
        assert row.dead_fraction == pytest.approx(float(dead))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x)))


def one_unit_each() -> Functional:
    """Unit k of four answers to the input k alone."""
    model = Functional()
    with torch.no_grad():
        model.first.weight.fill_(0)
        model.first.bias.fill_(-1)
        model.first.weight[0] = 2.0  # alive for x > ½
        model.first.weight[1] = -2.0  # alive for x < −½
    return model


@pytest.mark.parametrize(("window", "dead"), [(1, 3 / 4), (2, 2 / 4), (8, 2 / 4)])
def test_a_unit_is_dead_if_no_batch_of_the_window_wakes_it(window: int, dead: float) -> None:
    model = one_unit_each()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    labels = torch.zeros(3, dtype=torch.long)
    with gradflow.watch(model, window=window) as w:
        train(model, optimizer, [(torch.full((3, 1), x), labels) for x in (-1.0, 1.0, -1.0, 1.0)])
    assert w.result().records[0].dead_fraction == pytest.approx(dead)


def test_the_window_is_of_the_steps_that_are_read() -> None:
    model = one_unit_each()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    labels = torch.zeros(3, dtype=torch.long)
    signs = (1.0, -1.0, 1.0, -1.0, -1.0)  # the second and fourth are not recorded
    with gradflow.watch(model, every=2, window=2) as w:
        train(model, optimizer, [(torch.full((3, 1), x), labels) for x in signs])
    result = w.result()
    assert [s.step for s in result.steps] == [1, 3, 5]
    dead = [row.dead_fraction for row in result.history if row.index == 1]
    assert dead == pytest.approx([3 / 4, 3 / 4, 2 / 4])
    # Statistics are the recorded batch's alone: at x = 1 unit 0 of four gives 1, the others 0.
    assert result.history[2].activation_mean == pytest.approx(1 / 4)


def test_validation_without_gradients_is_not_read() -> None:
    model = one_unit_each()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with gradflow.watch(model) as w:
        with torch.no_grad():
            model(torch.full((3, 1), -1.0))
        train(model, optimizer, [(torch.full((3, 1), 1.0), torch.zeros(3, dtype=torch.long))])
    assert w.result().records[0].dead_fraction == pytest.approx(3 / 4)


def amp(
    optimizer_type: Any, clip: float | None, give: bool, fused: bool = False, bad: bool = False
) -> tuple[WatchResult, nn.Module]:
    model = network()
    options = {"fused": True} if fused else {}
    optimizer = optimizer_type(model.parameters(), lr=0.01, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    with gradflow.watch(model, scaler=scaler if give else None, sample_every=1) as w:
        for step, (inputs, labels) in enumerate(batches(4)):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(inputs), labels)
            scaler.scale(loss * (math.inf if bad and step == 1 else 1)).backward()
            if clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            scaler.step(optimizer)
            scaler.update()
    assert "unscale_" not in vars(scaler)
    return w.result(), model


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("fused", [False, True])
def test_gradients_under_a_grad_scaler_are_recorded_unscaled(
    clip: float | None, fused: bool
) -> None:
    result, _ = amp(torch.optim.SGD, clip, give=True, fused=fused)
    model, plain = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for inputs, labels in batches(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        plain.append([float(m.weight.grad.norm()) for m in linears(model)])
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    assert result.seen == 4
    for (step, index), log in logs(result).items():
        # A power of two scales exactly, but for what it lifts out of float32's subnormals.
        assert 10**log == pytest.approx(plain[step - 1][index - 1], rel=1e-4)
    assert result.clip_rate == (0 if clip is None else 1)
    deltas = {step: log for (step, index), log in logs(result, "delta_log10_rms").items()}
    assert all(-4 < log < 0 for log in deltas.values())  # 2¹² is 3.6 decades


def test_a_scaler_that_watch_was_not_told_of_is_noticed() -> None:
    result, _ = amp(torch.optim.SGD, None, give=False)
    assert "scaled" in {f.code for f in result.findings}
    assert "clipping" not in {f.code for f in result.findings}


def test_a_step_that_the_scaler_skips_is_counted_as_skipped() -> None:
    result, _ = amp(torch.optim.SGD, 1.0, give=True, bad=True)
    assert (result.seen, result.skipped) == (3, 1)
    assert result.verdict == "healthy"


def test_accumulated_gradients_are_those_of_all_micro_batches() -> None:
    model, data = network(), batches(4)
    expected = copy.deepcopy(model)
    for inputs, labels in data:
        F.cross_entropy(expected(inputs), labels).backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model) as w:
        for inputs, labels in data:
            F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    for (_, index), log in logs(w.result()).items():
        weight = linears(expected)[index - 1].weight
        assert 10**log == pytest.approx(float(weight.grad.norm()), rel=1e-6)


def test_a_loop_without_an_optimizer_says_when_it_steps() -> None:
    model, data = network(), batches(3)
    expected = truth(model, data)
    with gradflow.watch(model) as w:
        for inputs, labels in data:
            model.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            w.step()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(0.1 * p.grad)
    for (step, index), log in logs(w.result()).items():
        assert 10**log == pytest.approx(expected[step - 1][index - 1], rel=1e-6)


def test_a_loop_that_calls_the_parts_of_a_model_is_recorded_with_its_clipping() -> None:
    model = nn.ModuleDict({"body": network(), "head": nn.Linear(3, 3)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model) as w:
        for inputs, labels in batches(3):
            optimizer.zero_grad()
            F.cross_entropy(model["head"](model["body"](inputs)), labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            optimizer.step()
    result = w.result()
    assert [s.clipped for s in result.steps] == [True, True, True]
    assert all(row.gradient_log10_norm is not None for row in result.history)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_is_recorded_without_its_activations() -> None:
    model, data = network(), batches(3)
    expected = truth(model, data)
    compiled: Any = torch.compile(model, backend="eager")
    with gradflow.watch(compiled) as w:
        train(compiled, torch.optim.SGD(model.parameters(), lr=0.1), data, clip=100)
    result = w.result()
    assert "compiled" in {f.code for f in result.findings}
    for (step, index), log in logs(result).items():
        assert 10**log == pytest.approx(expected[step - 1][index - 1], rel=1e-5)


def test_nothing_waits_for_the_device() -> None:
    """On meta every .item() raises, and so does what was left on the CPU."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).to("meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.empty(4, 8, device="meta")
    with gradflow.watch(model) as w:
        for _ in range(3):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    assert len(w.snapshots) == 3
    for snapshot in w.snapshots:
        for part in (snapshot.before, snapshot.after, snapshot.weights):
            assert part is not None
            assert part.numbers.device.type == "meta"


def test_the_result_is_brought_to_the_host_in_a_handful_of_transfers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    w = watched(8)
    calls: list[int] = []
    cpu = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda t: calls.append(1) or cpu(t))
    w.result()
    # before, after, weights, updates, readings, spreads, the end, conflicts: of all steps together
    assert len(calls) <= 10


def watched(steps: int = 6, act: type[nn.Module] = nn.ReLU, **options: Any) -> Watch:
    model = network(act, **options)
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(steps), clip=0.4)
    return w


def test_the_result_is_a_document_a_table_and_a_figure(tmp_path: Path) -> None:
    result = watched().result()
    assert jsonfile.loads(jsonfile.dumps(result)) == result
    document = json.loads(jsonfile.dumps(result))
    assert document["command"] == "watch"
    assert len(document["history"]) == 6 * 4
    for name in ("a.png", "a.svg", "a.csv", "a.md", "a.json"):
        assert result.save(tmp_path / name).stat().st_size > 100
    figure = result.figure()
    norms, heat = figure.axes[:2]
    assert norms.get_yscale() == "log"
    image = heat.get_images()[0].get_array()
    assert image.shape == (4, 6)
    for (step, index), log in logs(result).items():
        assert image[index - 1, step - 1] == pytest.approx(log)


def test_the_printed_table_fits_80_columns() -> None:
    lines = str(watched().result()).splitlines()
    assert lines[0].startswith("Healthy over 6 steps")
    assert max(map(len, lines)) <= 80
    assert sum(line.lstrip().startswith(("1 ", "2 ", "3 ", "4 ")) for line in lines) == 4


def test_tensorboard_reads_what_was_recorded(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = watched().result()
    result.to_tensorboard(tmp_path / "run")
    read = EventAccumulator(str(tmp_path / "run"))
    read.Reload()
    for row in result.records:
        events = read.Scalars(f"gradflow/gradient_log10_norm/{row.name}")
        own = [h for h in result.history if h.index == row.index]
        assert [e.step for e in events] == [h.step for h in own]
        assert [e.value for e in events] == pytest.approx([h.gradient_log10_norm for h in own])
    before = read.Scalars("gradflow/norm_before")
    assert [e.value for e in before] == pytest.approx([s.norm_before for s in result.steps])


def test_without_tensorboard_the_export_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(GradflowError, match="needs tensorboard") as refused:
        watched(1).result().to_tensorboard(tmp_path)
    assert "[tensorboard]" in str(refused.value.hint)


def test_verdicts_of_a_run() -> None:
    healthy = watched(act=nn.Tanh, depth=1).result()
    assert healthy.verdict == "healthy"
    healthy.assert_healthy()
    vanishing = watched(act=nn.Sigmoid, depth=8).result()
    assert vanishing.verdict == "vanishing"
    with pytest.raises(AssertionError, match="vanishing: δ shrinks"):
        vanishing.assert_healthy()
    vanishing.assert_healthy("dead", "broken")


def test_a_run_that_breaks_is_broken_at_the_step_it_broke() -> None:
    model = network()
    data = batches(5)
    data[2] = (data[2][0] * math.nan, data[2][1])
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), data)
    result = w.result()
    assert result.verdict == "broken"
    assert "so is the loss (step 3)" in result.findings[0].message


def test_dead_layers_are_found_while_training() -> None:
    model = network(nn.ReLU)
    with torch.no_grad():
        model[2].bias.fill_(-100)
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.0), batches(3))
    result = w.result()
    assert result.verdict == "dead"
    assert result.findings[0].layers == (2,)
    assert result.figure() is not None


def test_a_new_head_on_frozen_layers_is_watched_from_its_optimizer_on() -> None:
    model = network()
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3))
        model.requires_grad_(False)
        model[-1] = nn.Linear(model[-1].in_features, model[-1].out_features)
        train(model, torch.optim.SGD(model[-1].parameters(), lr=0.1), batches(5))
        rival = network()
        train(rival, torch.optim.SGD(rival.parameters(), lr=0.1), batches(2))
    result = w.result()
    assert [step.step for step in result.steps] == list(range(1, 9))
    assert all(step.loss for step in result.steps if step.step != 4)  # hooked from then on


def test_frozen_and_tied_parameters() -> None:
    model = network()
    model[0].requires_grad_(False)
    model[4].weight = model[2].weight
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(2))
    result = w.result()
    assert [row.name for row in result.records] == ["2", "4", "6"]
    tied = logs(result)
    assert tied[1, 1] == tied[1, 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"every": 0}, "every must be"), ({"every": 1.5}, "got 1.5"), ({"window": 0}, "window must")],
)
def test_bad_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        gradflow.watch(network(), **options)


def test_a_lazy_model_has_to_be_called_first() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(3))
    with pytest.raises(GradflowError, match=r"0\.weight of the model has no shape yet"):
        gradflow.watch(model)
    (data,) = batches(1)
    model(data[0])
    with gradflow.watch(model) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), [data])
    assert [row.kind for row in w.result().records] == ["Linear", "Linear"]


def test_a_model_on_the_meta_device_has_no_result_and_says_so() -> None:
    model = nn.Sequential(nn.Linear(6, 8, device="meta"), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model) as w:
        model(torch.empty(4, 6, device="meta")).sum().backward()
        optimizer.step()
    with pytest.raises(GradflowError, match="the model is on the meta device"):
        w.result()


def test_it_needs_a_module_and_runs_once_at_a_time() -> None:
    with pytest.raises(GradflowError, match=r"needs a torch.nn.Module, got a list"):
        gradflow.watch([1])  # type: ignore[arg-type]
    w = gradflow.watch(network())
    with w, pytest.raises(GradflowError, match="already running"), w:
        pass


def test_an_empty_watch_has_a_result() -> None:
    result = gradflow.watch(network()).result()
    assert result.title == "Nothing was recorded in 0 steps"
    assert result.figure() is not None


@pytest.mark.parametrize("codes", [(), ("vanishing",)])
def test_a_run_of_which_nothing_was_recorded_is_not_healthy(codes: tuple[str, ...]) -> None:
    model = network()
    with gradflow.watch(model, optimizer=torch.optim.SGD(network().parameters(), lr=0.1)) as w:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(2))
    result = w.result()
    assert {finding.code for finding in result.findings} == {"unjudged", "unrecorded"}
    assert result.verdict == "unjudged"
    with pytest.raises(AssertionError, match="no step of an optimizer that trains this model"):
        result.assert_healthy(*codes)


def test_a_copy_of_a_watched_model_is_not_watched(tmp_path: Path) -> None:
    """As an averaged model is, or a checkpoint of the whole module."""
    model, data, path = network(nn.ReLU), batches(4), tmp_path / "model.pt"
    alone = network(nn.ReLU)
    with gradflow.watch(alone) as expected:
        train(alone, torch.optim.SGD(alone.parameters(), lr=0.1), data)
    with gradflow.watch(model) as w:

        def aside() -> None:
            for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
                other(100 * data[0][0]).sum().backward()
                copy.copy(model[0])(100 * data[0][0]).sum().backward()
                model.zero_grad()
            torch.save(model, path)

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for inputs, labels in data:
            aside()
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    assert w.result().history == expected.result().history
    loaded = torch.load(path, weights_only=False)  # as it was before the last step
    assert loaded(data[0][0]).shape == (16, 3)
