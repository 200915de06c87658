"""Training loops of every kind: nothing of them breaks or changes, and the numbers are right."""

from __future__ import annotations

import contextlib
import copy
import math
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.old_torch import IS_OLD, tells_hooks
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import prune
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import gradflow
from gradflow.errors import GradflowError
from gradflow.results.watching import WatchResult

INPUTS = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
LABELS = torch.randint(3, (16,), generator=torch.Generator().manual_seed(2))


def network(act: Callable[[], nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), act(), nn.Linear(8, 8), act(), nn.Linear(8, 3))


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def loss_of(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(INPUTS), LABELS)


def total(model: nn.Module) -> float:
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return math.sqrt(sum(float(g.abs().double().square().sum()) for g in grads))


def total_of(loss: Tensor, model: nn.Module) -> float:
    return math.hypot(
        *(float(g.norm()) for g in torch.autograd.grad(loss, list(model.parameters())))
    )


def before(result: WatchResult) -> list[float | None]:
    return [step.norm_before for step in result.steps]


def after(result: WatchResult) -> list[float | None]:
    return [step.norm_after for step in result.steps]


def codes(result: WatchResult) -> set[str]:
    return {finding.code for finding in result.findings}


class Odd(nn.Module):
    """Overrides what torch allows to be overridden, and more."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        super().__init__()
        self.parts = network()
        self.last = torch.zeros(())

    def __getattr__(self, name: str) -> Any:
        if name == "parts":
            return super().__getattr__(name)
        raise RuntimeError(f"no {name}")

    def register_forward_hook(self, hook: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("no hooks")

    register_forward_pre_hook = register_forward_hook  # type: ignore[assignment]

    def parameters(self) -> Any:  # type: ignore[override]
        return [{"params": list(self.parts.parameters()), "lr": 0.1}]

    def named_parameters(self) -> Any:  # type: ignore[override]
        return iter(())

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.last + 1
        return self.parts(x)


def test_a_model_that_overrides_what_it_can_is_seen() -> None:
    model = Odd()
    result = gradflow.diagnose(model, INPUTS, LABELS)
    assert [row.name for row in result.records] == ["parts.0", "parts.2", "parts.4"]
    assert float(model.last) == 0  # it was put back
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model).step()
    assert before(w.result()) == pytest.approx([total(model.parts)], rel=1e-6)
    assert w.result().records[0].delta_log10_rms is not None


class Ragged(nn.Module):
    """Runs sequences of several lengths as one nested tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.head = network(), nn.Linear(3, 3)

    def forward(self, *sequences: Tensor) -> Tensor:
        together = torch.nested.nested_tensor(list(sequences), layout=torch.jagged)
        return self.head(torch.stack([s.mean(0) for s in self.parts(together).unbind()]))


def test_nested_tensors_are_read_by_the_rows_of_their_parts() -> None:
    model, sequences = Ragged(), INPUTS.split([3, 6, 2, 5])
    outputs = model.parts(INPUTS)
    means = torch.stack([part.mean(0) for part in outputs.split([3, 6, 2, 5])])
    loss = F.cross_entropy(model.head(means), LABELS[:4])
    (delta,) = torch.autograd.grad(loss, [outputs])
    optimizer = sgd(model)
    with gradflow.watch(model) as w:
        F.cross_entropy(model(*sequences), LABELS[:4]).backward()
        optimizer.step()
    (row,) = [r for r in w.result().records if r.name == "parts.4"]
    assert 10**row.delta_log10_rms == pytest.approx(float(delta.square().mean().sqrt()), rel=1e-4)
    result = gradflow.diagnose(model, sequences, LABELS[:4])
    assert all(r.delta_log10_rms is not None for r in result.records if r.name != "head")


# -- gradients


def test_a_step_without_any_gradient_is_recorded() -> None:
    model = network()
    with gradflow.watch(model) as w:
        sgd(model).step()
    assert w.result().seen == 1
    assert all(row.gradient_log10_norm is None for row in w.result().history)


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("positional", [True, False])
def test_a_closure_is_read_after_it_ran(
    to_none: bool, clip: float | None, positional: bool
) -> None:
    model = network()
    optimizer, seen, cut = sgd(model), [], []

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=to_none)
        loss = loss_of(model)
        loss.backward()
        seen.append(total(model))
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        cut.append(total(model))
        return loss

    with gradflow.watch(model) as w:
        for _ in range(3):
            optimizer.step(closure) if positional else optimizer.step(closure=closure)
    assert before(w.result()) == pytest.approx(seen, rel=1e-6)
    assert after(w.result()) == pytest.approx(cut, rel=1e-5)
    assert w.result().clip_rate == (0 if clip is None else 1)


def test_of_lbfgs_the_first_evaluation_of_each_step_is_recorded() -> None:
    model = network()
    optimizer, first = torch.optim.LBFGS(model.parameters(), max_iter=3), []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        evaluations.append(total(model))
        return loss

    with gradflow.watch(model) as w:
        for _ in range(3):
            evaluations: list[float] = []
            optimizer.step(closure)
            first.append(evaluations[0])
    assert before(w.result()) == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("to_none", [True, False])
def test_steps_inside_the_backward_pass_are_one_step(to_none: bool) -> None:
    model, norms = network(), []
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def hook(p: Tensor) -> None:
        assert p.grad is not None
        norms.append(float(p.grad.norm()))
        optimizers[p].step()
        optimizers[p].zero_grad(set_to_none=to_none)

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)
    old = model[0].weight.detach().clone()
    with gradflow.watch(model) as w:
        for _ in range(3):
            loss_of(model).backward()
            if len(norms) == 6:
                moved = float((model[0].weight.detach() - old).norm() / old.norm())
    expected = [math.hypot(*norms[6 * i : 6 * i + 6]) for i in range(3)]
    assert before(w.result()) == pytest.approx(expected, rel=1e-6)
    assert w.result().seen == 3
    assert w.result().history[0].update_ratio == pytest.approx(moved, rel=1e-4)
    assert w.result().records[0].delta_log10_rms is not None


class Lookahead(torch.optim.Optimizer):
    """An optimizer around another, stepped through its own `step`."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        super().__init__(inner.param_groups, {})

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)


def test_an_optimizer_within_another_is_one_step() -> None:
    model, seen = network(), []
    optimizer = Lookahead(sgd(model))
    with gradflow.watch(model) as w:
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(model).backward()
            seen.append(total(model))
            optimizer.step()
    assert before(w.result()) == pytest.approx(seen, rel=1e-6)


class Sharp(torch.optim.Optimizer):
    """Evaluates its closure again further up the slope, and steps with what it finds there."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> None:
        parameters = [p for group in self.param_groups for p in group["params"]]
        if parameters[0].grad is None:
            closure()
        old = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, [p.grad for p in parameters], alpha=0.1)
        self.zero_grad()
        closure()
        with torch.no_grad():
            torch._foreach_copy_(parameters, old)
        self.inner.step()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("within", [True, False])
def test_of_sharpness_aware_steps_the_gradient_that_steps_is_recorded(
    given: bool, within: bool
) -> None:
    model, seen = network(), []
    optimizer = Sharp(sgd(model))

    def closure() -> None:
        loss_of(model).backward()
        seen.append(total(model))

    with gradflow.watch(model, optimizer=optimizer if given else None) as w:
        for _ in range(3):
            if not within:
                closure()
            optimizer.step(closure)
            optimizer.zero_grad()
    assert before(w.result()) == pytest.approx(seen[1::2], rel=1e-6)
    assert w.result().clip_rate == 0


class Whole(torch.optim.SGD):
    """Takes the loss, and does the rest itself."""

    def step(self, loss: Tensor) -> None:  # type: ignore[override]
        self.zero_grad()
        loss.backward()
        super().step()


def test_a_step_that_runs_backward_itself_has_its_own_gradient() -> None:
    model, seen = network(), []
    optimizer = Whole(model.parameters(), lr=0.1)
    with gradflow.watch(model) as w:
        for _ in range(3):
            seen.append(total_of(loss_of(model), model))
            optimizer.step(loss_of(model))
    assert before(w.result()) == pytest.approx(seen, rel=1e-6)
    assert w.result().clip_rate == 0


class Broken(torch.optim.SGD):
    """Raises within its step, where it is told to."""

    now = False

    def step(self, closure: Any = None) -> Any:
        if self.now:
            raise OSError
        return super().step(closure)


def test_a_step_that_raises_leaves_no_step_behind() -> None:
    model, seen = network(), []
    optimizer = Broken(model.parameters(), lr=0.1)
    with gradflow.watch(model) as w:
        for optimizer.now in (False, True, False):
            optimizer.zero_grad()
            loss_of(model).backward()
            with contextlib.suppress(OSError):
                optimizer.step()
                seen.append(total(model))
    assert before(w.result()) == pytest.approx(seen, rel=1e-6)


def test_a_step_that_raises_is_not_in_the_way_of_the_next() -> None:
    model = network()
    optimizer = sgd(model)
    with gradflow.watch(model) as w:
        with pytest.raises(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    assert w.result().seen == 2


class Wrapper:
    """An optimizer's wrapper that takes no hooks, as accelerate's."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.param_groups = optimizer, optimizer.param_groups

    def step(self) -> None:
        self.optimizer.step()


def test_a_wrapped_optimizer_is_found_inside() -> None:
    model = network()
    wrapped: Any = Wrapper(sgd(model))
    with gradflow.watch(model, optimizer=wrapped) as w:
        loss_of(model).backward()
        wrapped.step()
    assert w.result().seen == 1


def test_what_is_no_optimizer_is_refused_in_a_line() -> None:
    with pytest.raises(GradflowError, match="object is no torch"):
        gradflow.watch(network(), optimizer=object())  # type: ignore[arg-type]


def test_complex_parameters_have_their_norms() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 5, dtype=torch.complex64))
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            mapped: Tensor = self.head((x.to(torch.complex64) @ self.w.T).abs())
            return mapped

    model = Net()
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        expected = total(model)
        sgd(model).step()
    assert before(w.result()) == pytest.approx([expected], rel=1e-5)
    assert w.result().records[0].gradient_log10_norm is not None


def test_parameters_may_come_and_go() -> None:
    model, seen = network(), []
    model[0].requires_grad_(False)
    optimizer = sgd(model)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model).backward()
        seen.append(total(model))
        optimizer.step()

    with gradflow.watch(model) as w:
        step()
        model[0].requires_grad_(True)  # unfrozen
        step()
        model[2] = nn.Linear(8, 8)  # replaced
        optimizer = sgd(model)
        step()
        model[4] = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))  # deleted and added
        optimizer = sgd(model)
        step()
    result = w.result()
    assert before(result) == pytest.approx(seen, rel=1e-6)
    assert [row.name for row in result.records] == ["0", "2", "4", "4.0", "4.1"]
    first = [row.gradient_log10_norm for row in result.history if row.index == 1]
    assert first[0] is None
    assert None not in first[1:]


def _frozen(model: nn.Sequential) -> None:
    model[0].requires_grad_(False)


def _pruned(model: nn.Sequential) -> None:
    prune.l1_unstructured(model[0], "weight", 0.25)


def _parametrised(model: nn.Sequential) -> None:
    nn.utils.parametrizations.weight_norm(model[0])


@pytest.mark.parametrize("change", [_frozen, _pruned, _parametrised])
def test_a_layer_keeps_the_row_of_what_it_trained_before(
    change: Callable[[nn.Sequential], None],
) -> None:
    model, seen = network(), []
    with gradflow.watch(model) as w:
        for step in range(2):
            loss_of(model).backward()
            own = [
                p.grad.norm()
                for n, p in model[0].named_parameters()
                if "bias" not in n and p.grad is not None
            ]
            seen.append(float(torch.stack(own).norm()) if own else None)
            sgd(model).step()
            if not step:
                model.zero_grad()
                change(model)
    rows = [row.gradient_log10_norm for row in w.result().history if row.index == 1]
    assert [row.name for row in w.result().records] == ["0", "2", "4"]
    assert [None if row is None else 10**row for row in rows] == [
        None if norm is None else pytest.approx(norm, rel=1e-5) for norm in seen
    ]


def test_one_unused_matrix_does_not_hide_the_others() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Parameter(torch.randn(5, 3))
            self.unused = nn.Parameter(torch.randn(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.used

    model = Two()
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        assert model.used.grad is not None
        expected = float(model.used.grad.norm())
        sgd(model).step()
    (row,) = w.result().records
    assert row.gradient_log10_norm == pytest.approx(math.log10(expected), rel=1e-5)


# -- activations and δ


def test_evaluation_with_gradients_is_no_part_of_the_step() -> None:
    model, alone = network(nn.ReLU), network(nn.ReLU)

    def step(model: nn.Module, evaluate: bool) -> WatchResult:
        with gradflow.watch(model) as w:
            output = F.cross_entropy(model(INPUTS), LABELS)
            if evaluate:
                model.eval()
                model(100 * INPUTS)
                torch.autograd.grad(model(100 * INPUTS).sum(), model[0].weight)
                model.train()
            output.backward()
            sgd(model).step()
        return w.result()

    assert step(model, True).history == step(alone, False).history


def test_a_gradient_that_the_loss_takes_itself_is_not_delta() -> None:
    model = network()
    x = INPUTS.clone().requires_grad_()
    with gradflow.watch(model) as w:
        z = model(x)
        (inner,) = torch.autograd.grad(z.sum(), x, create_graph=True)
        loss = z.square().mean() + inner.square().mean()
        (delta,) = torch.autograd.grad(loss, z, retain_graph=True)
        loss.backward()
        sgd(model).step()
    found = w.result().records[-1].delta_log10_rms
    assert 10**found == pytest.approx(float(delta.square().mean().sqrt()), rel=1e-5)


def test_gradients_that_a_loop_sets_by_itself_have_their_delta() -> None:
    def deltas(asked: bool) -> list[float | None]:
        model = network()
        parameters = list(model.parameters())
        with gradflow.watch(model) as w:
            loss = loss_of(model)
            if asked:
                gradients = torch.autograd.grad(loss, parameters)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
            else:
                loss.backward()
            sgd(model).step()
        return [row.delta_log10_rms for row in w.result().records]

    seen = deltas(asked=True)
    assert None not in seen
    assert seen == pytest.approx(deltas(asked=False), abs=1e-6)


@pytest.mark.parametrize("act", [nn.Dropout, nn.Tanh])
@pytest.mark.parametrize("training", [True, False])
def test_training_in_evaluation_mode_is_told(act: Callable[[], nn.Module], training: bool) -> None:
    model = network(act).train(training)
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model).step()
    assert ("evaluation-mode" in codes(w.result())) is (act is nn.Dropout and not training)


def test_delta_is_that_of_all_losses_that_are_backpropagated() -> None:
    model = network()
    with gradflow.watch(model) as w:
        z = model(INPUTS)
        losses = F.cross_entropy(z, LABELS), 0.1 * z.square().mean()
        (delta,) = torch.autograd.grad(sum(losses), z, retain_graph=True)
        for loss in losses:
            loss.backward(retain_graph=True)
        sgd(model).step()
    found = w.result().records[-1].delta_log10_rms
    assert 10**found == pytest.approx(float(delta.square().mean().sqrt()), rel=1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_model_has_the_delta_of_a_plain_one(reentrant: bool) -> None:
    model, found = network(), []
    for parts in (0, 2):
        with gradflow.watch(model) as w:
            x = INPUTS.clone().requires_grad_()
            hidden = torch.relu(model[0](x)) if not parts else model[:1](x)
            hidden = (
                model[1:](hidden)
                if not parts
                else checkpoint(lambda h: model[1:](torch.relu(h)), hidden, use_reentrant=reentrant)
            )
            F.cross_entropy(hidden, LABELS).backward()
            sgd(model, 0.0).step()
            model.zero_grad()
        found.append([row.delta_log10_rms for row in w.result().records])
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def _traced(model: nn.Module) -> None:
    torch.jit.trace(model, INPUTS)


def _exported(model: nn.Module) -> None:
    torch.export.export(model, (INPUTS,))


def _compiled(model: nn.Module) -> None:
    torch.compile(model, backend="eager")(INPUTS)


def _scripted(model: nn.Module) -> None:
    with gradflow.watch(model):  # another, which is over sooner
        torch.jit.script(model)
    torch.jit.script(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trace", [_traced, _exported, _compiled, _scripted])
def test_a_watched_model_can_be_traced(trace: Callable[[nn.Module], None]) -> None:
    if trace is _exported and IS_OLD:
        pytest.skip("with torch 2.6 a watched model cannot be exported (docs/reliability.md)")
    model = network()
    with gradflow.watch(model) as w:
        trace(model)
        loss_of(model).backward()
        sgd(model).step()
    assert w.result().seen == 1
    assert all(row.gradient_log10_norm is not None for row in w.result().records)


class Gated(nn.Module):
    """Both gates are computed before the first activation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate, self.up, self.head = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate(x), self.up(x)
        seen = torch.sigmoid(gate), torch.tanh(up)
        self.means = [float(a.detach().mean()) for a in seen]
        output: Tensor = self.head(seen[0] * seen[1])
        return output


def test_every_gate_has_its_own_activation() -> None:
    model = Gated()
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model, 0.0).step()
    watched = [row.activation_mean for row in w.result().records]
    assert watched[:2] == pytest.approx(model.means, rel=1e-5)
    diagnosed = [row["activation_mean"] for row in gradflow.diagnose(model, INPUTS, LABELS).rows()]
    assert diagnosed[:2] == pytest.approx(model.means, rel=1e-5)


class Own(nn.Module):
    """An activation of one's own, which counts its calls."""

    log: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.log = LOG

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(len(x))
        return torch.where(x > 0, x, 0.3 * x)


LOG: list[int] = []


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * random.random() + 0.1 * float(np.random.rand())


def states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@pytest.mark.parametrize("act", [Own, Noise, nn.RReLU, nn.Dropout, nn.GELU])
def test_looking_changes_nothing(act: Callable[[], nn.Module]) -> None:
    found = []
    for watched in (False, True):
        LOG.clear()
        random.seed(0)
        np.random.seed(0)
        model = network(act)
        optimizer = sgd(model)
        w = gradflow.watch(model)
        if watched:
            w.__enter__()
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        if watched:
            w.__exit__(None, None, None)
        found.append(([p.tolist() for p in model.parameters()], states(), list(LOG)))
    assert found[0] == found[1]


def test_an_activation_of_ones_own_is_read() -> None:
    model = network(Own)
    expected = float(model[:2](INPUTS).detach().mean())
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model).step()
    assert w.result().records[0].activation_mean == pytest.approx(expected, rel=1e-5)


def test_transforms_of_torch_func_are_left_alone_and_told() -> None:
    model = network()
    optimizer = sgd(model)
    parameters = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, parameters, INPUTS), LABELS)

    expected = torch.func.grad(loss)(parameters)
    with gradflow.watch(model) as w:
        found = torch.func.grad(loss)(parameters)
        torch.func.vmap(model)(INPUTS)
        torch.func.jacrev(model)(INPUTS[:2])
        for name, p in parameters.items():
            p.grad = found[name].detach()
        seen = total(model)
        optimizer.step()
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    assert before(w.result()) == pytest.approx([seen], rel=1e-6)
    assert "uncovered" in codes(w.result())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_of_a_script_the_gradients_are_recorded_and_the_rest_is_told() -> None:
    model = torch.jit.script(network())
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        seen = total(model)
        sgd(model).step()
    assert before(w.result()) == pytest.approx([seen], rel=1e-6)
    assert all(row.gradient_log10_norm is not None for row in w.result().records)
    assert any("ScriptModule" in f.message for f in w.result().findings)


def test_a_parametrised_layer_has_one_row() -> None:
    model = network()
    nn.utils.parametrizations.weight_norm(model[2])
    nn.utils.parametrizations.spectral_norm(model[4])
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model).step()
    u = copy.deepcopy(dict(model.named_buffers()))
    result = w.result()
    assert [row.name for row in result.records] == ["0", "2", "4"]
    for name, buffer in model.named_buffers():  # the power iteration moves on in forward alone
        assert torch.equal(buffer, u[name])


class Stop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


def hooks_of(model: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(m, t)) for m in model.modules() for t in tables)


def test_ctrl_c_in_forward_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(5, 3), Stop())
    with pytest.raises(KeyboardInterrupt), gradflow.watch(model):
        model(INPUTS)
    assert hooks_of(model) == 0
    assert not _get_current_function_mode_stack()


def test_a_loop_goes_on_after_ctrl_c_in_forward() -> None:
    model = network()
    stopping = nn.Sequential(model, nn.Identity())
    with gradflow.watch(stopping) as w:
        stopping[1] = Stop()
        with pytest.raises(KeyboardInterrupt):
            stopping(INPUTS)
        stopping[1] = nn.Identity()
        loss_of(stopping).backward()
        sgd(model).step()
        assert not _get_current_function_mode_stack()
    assert w.result().records[0].activation_mean is not None


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 5)

    def forward(self, x: Tensor, depth: int = 2) -> Tensor:
        x = torch.tanh(self.fc(x))
        deeper: Tensor = self(x, depth - 1) if depth else x
        return deeper


def test_a_model_that_calls_itself_is_one_batch() -> None:
    model = Recursive()
    with gradflow.watch(model, window=1) as w:
        loss_of(model).backward()
        sgd(model).step()
        assert not _get_current_function_mode_stack()
    assert w.result().records[0].activation_mean is not None
    assert hooks_of(model) == 0


def test_hooks_come_off_when_entering_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()

    def failing(*_: Any) -> None:
        raise RuntimeError("no hook")

    monkeypatch.setattr("gradflow.watching.run.register_optimizer_step_post_hook", failing)
    with pytest.raises(RuntimeError, match="no hook"):
        gradflow.watch(model).__enter__()
    assert hooks_of(model) == 0
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_a_reader_that_fails_is_told_and_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise TypeError("a tensor of somebody's own")

    monkeypatch.setattr("gradflow.watching.sampler.flat_levels", failing)
    model = network()
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model).step()
    messages = [f.message for f in w.result().findings if f.code == "uncovered"]
    assert any("TypeError: a tensor of somebody's own" in message for message in messages)


@pytest.mark.parametrize(
    "name",
    ["NormReader.read", "copies", "differences"],
)
def test_gradients_that_cannot_be_read_are_told_and_the_loop_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, alone = network(), network()
    loss_of(alone).backward()
    sgd(alone).step()

    def failing(*_: Any) -> None:
        raise NotImplementedError("no norm of such a tensor")

    monkeypatch.setattr(f"gradflow.watching.gradients.{name}", failing)
    with gradflow.watch(model) as w:
        loss_of(model).backward()
        sgd(model).step()
    for one, other in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    monkeypatch.undo()
    assert any("no norm of such a tensor" in f.message for f in w.result().findings)


def test_threads_do_not_mix() -> None:
    model, other = network(nn.ReLU), network(nn.ReLU)
    errors: list[BaseException] = []

    def train(model: nn.Module) -> None:
        try:
            optimizer = sgd(model, 0.0)
            for _ in range(5):
                optimizer.zero_grad()
                loss_of(model).backward()
                optimizer.step()
        except BaseException as error:
            errors.append(error)

    with gradflow.watch(model) as a, gradflow.watch(other) as b:
        threads = [threading.Thread(target=train, args=(m,)) for m in (model, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert a.result().seen == b.result().seen == 5
    assert a.result().history == b.result().history


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_loss_of_another_thread_is_not_taken_for_the_model_s() -> None:
    model, other = network(nn.ReLU), network(nn.ReLU)
    optimizer = sgd(model, 0.0)

    def another_pass() -> None:
        (loss_of(other) * 7).backward()

    with gradflow.watch(model) as w:
        loss = loss_of(model)
        loss.register_hook(lambda _: in_a_thread(another_pass))  # in the middle of this pass
        loss.backward()
        optimizer.step()
    (seen,) = w.recorded().snapshots
    assert seen.notes is not None
    assert [found.value for found in seen.notes.losses] == [loss.item()]


def test_a_backward_pass_in_another_thread_than_the_forward_pass_is_heard() -> None:
    model = network(nn.ReLU)
    optimizer = sgd(model, 0.0)
    with gradflow.watch(model) as w:
        loss = loss_of(model)
        in_a_thread(loss.backward)
        optimizer.step()
    (seen,) = w.recorded().snapshots
    assert seen.notes is not None
    assert [found.value for found in seen.notes.losses] == [loss.item()]


# -- a GradScaler


def scaled_loop(
    *, give: bool, clip: str | None, factor: float = 1.0, steps: int = 3
) -> tuple[WatchResult, list[float], list[float]]:
    model = network()
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=2.0**12)
    seen, cut = [], []
    with gradflow.watch(model, scaler=scaler if give else None) as w:
        for _ in range(steps):
            optimizer.zero_grad()
            scaler.scale(loss_of(model) * factor).backward()
            seen.append(total(model) / 2**12)
            if clip == "before":
                nn.utils.clip_grad_norm_(model.parameters(), 0.05 * 2**12)
            scaler.unscale_(optimizer)
            if clip == "after":
                nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            cut.append(total(model))
            scaler.step(optimizer)
            scaler.update()
    return w.result(), seen, cut


@pytest.mark.parametrize("give", [True, False])
@pytest.mark.parametrize("clip", [None, "before", "after"])
def test_a_scaler_is_divided_out_and_clipping_seen(give: bool, clip: str | None) -> None:
    result, seen, cut = scaled_loop(give=give, clip=clip)
    assert before(result) == pytest.approx(seen, rel=1e-4)
    assert after(result) == pytest.approx(cut, rel=1e-4)
    assert result.clip_rate == (0 if clip is None else 1)
    assert ("scaled" in codes(result)) is not give


@pytest.mark.parametrize("give", [True, False])
def test_a_run_of_skipped_steps_is_told_as_that(give: bool) -> None:
    result, *_ = scaled_loop(give=give, clip=None, factor=math.inf)
    assert (result.seen, result.skipped) == (0, 3)
    (finding,) = (f for f in result.findings if f.code == "skipped")
    assert "every step" in finding.message
    assert "unrecorded" not in codes(result)


class Overflowing(nn.Module):
    """Its second layer leaves the range of float16."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        with torch.no_grad():
            self.second.weight *= 1e6

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.second(torch.relu(self.first(x))))
        return output


def test_a_skipped_step_names_the_layer_that_overflowed() -> None:
    model = Overflowing()
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu")
    with gradflow.watch(model) as w:
        with torch.autocast("cpu", dtype=torch.float16):
            output = model(INPUTS)
        scaler.scale(F.cross_entropy(output.float(), LABELS)).backward()
        scaler.step(optimizer)
        scaler.update()
    (finding,) = (f for f in w.result().findings if f.code == "skipped")
    assert finding.layers == (2,)


class Counted(TorchDispatchMode):
    """A user's own count of operations."""

    count = 0

    def __torch_dispatch__(
        self, function: Any, _: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        self.count += 1
        return function(*arguments, **(keywords or {}))


def test_a_users_own_modes_see_nothing_of_what_is_read() -> None:
    def counted(model: nn.Module) -> int:
        optimizer = sgd(model)
        with Counted() as mode:
            for _ in range(2):
                optimizer.zero_grad()
                loss_of(model).backward()
                optimizer.step()
        return mode.count

    model = network(Own)
    with gradflow.watch(model) as w:
        seen = counted(model)
    assert w.result().records[0].delta_log10_rms is not None
    assert seen == counted(network(Own))


@tells_hooks
def test_what_is_saved_for_backward_is_taken_from_its_store_once() -> None:
    model, store = network(nn.GELU), dict[int, Tensor]()

    def kept(tensor: Tensor) -> int:
        store[len(store)] = tensor.clone()
        return len(store) - 1

    optimizer = sgd(model)
    with gradflow.watch(model) as w:
        for _ in range(2):
            store.clear()
            with torch.autograd.graph.saved_tensors_hooks(kept, store.pop):
                loss = loss_of(model)
            loss.backward()
            optimizer.step()
    assert w.result().seen == 2


def test_the_scalers_class_is_as_it_was() -> None:
    methods = torch.amp.GradScaler.step, torch.amp.GradScaler.unscale_
    with gradflow.watch(network()), gradflow.watch(network()):
        assert torch.amp.GradScaler.step is not methods[0]
    assert (torch.amp.GradScaler.step, torch.amp.GradScaler.unscale_) == methods


def test_watches_may_end_in_any_order() -> None:
    model = network()
    first, second = gradflow.watch(model), gradflow.watch(model)
    first.__enter__()
    second.__enter__()
    optimizer = sgd(model)
    loss_of(model).backward()
    optimizer.step()
    first.__exit__(None, None, None)
    loss_of(model).backward()
    optimizer.step()
    second.__exit__(None, None, None)
    assert (first.result().seen, second.result().seen) == (1, 2)
    assert hooks_of(model) == 0
    assert not _get_current_function_mode_stack()


@pytest.mark.parametrize("copied", [True, False])
def test_steps_that_follow_no_backward_pass_are_told(copied: bool) -> None:
    model = network()
    trained, optimizer = model, sgd(model)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        for step in range(30):
            optimizer.zero_grad()
            loss_of(trained).backward()
            optimizer.step()
            if copied and step == 5:
                trained = copy.deepcopy(model)
    told = [f.message for f in watch.result().findings if f.code == "not-updated"]
    assert len(told) == copied
    assert all("in the last 24 of 30 steps" in message for message in told)


def test_an_optimizer_that_waits_for_its_turn_is_no_optimizer_of_a_copy() -> None:
    model = network()
    optimizer = sgd(model)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        for step in range(40):
            optimizer.zero_grad()
            if step % 8 > 5:
                loss_of(model).backward()
            optimizer.step()
    assert "not-updated" not in codes(watch.result())
