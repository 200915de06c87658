"""Loops that go wrong, and the same mended: each is told from the other, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.finding_examples import EXAMPLES
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.results.watching import NonFiniteFacts, WatchResult
from gradflow.watching.curve_checks import collapse


def classes(count: int = 240, apart: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(3, (count,), generator=generator)
    centres = apart * torch.randn(3, 8, generator=generator)
    return centres[labels] + torch.randn(count, 8, generator=generator), labels


def network() -> nn.Sequential:
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)
    )


Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def plain(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def trained(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    step: Step = plain,
    *,
    epochs: int = 10,
    batch: int = 24,
    after: Callable[[], None] | None = None,
    **options: Any,
) -> WatchResult:
    inputs, labels = classes()
    model = network()
    optimizer = make(model)
    with gradflow.watch(model, **options) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(batch):
                step(model, optimizer, inputs[rows], labels[rows])
    return watch.result()


def sgd(**options: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: torch.optim.SGD(model.parameters(), **{"lr": 0.1, **options})


def adam(**options: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: torch.optim.Adam(model.parameters(), **{"lr": 3e-3, **options})


def said(result: WatchResult) -> set[str]:
    return {f.code for f in result.findings if f.severity in ("error", "warning")}


def message(result: WatchResult, code: str) -> str:
    return next(f.message + " " + f.advice for f in result.findings if f.code == code)


def test_a_run_that_learns_is_free_of_findings() -> None:
    for make in (sgd(), adam(), sgd(momentum=0.9, lr=0.05), adam(weight_decay=1e-4)):
        assert said(trained(make)) == set()


# -- losses and rates


def test_every_step_has_its_loss_and_learning_rate() -> None:
    losses: list[float] = []

    def noting(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    result = trained(sgd(lr=0.07), noting, epochs=2)
    assert [s.loss for s in result.steps] == losses
    assert {s.learning_rate for s in result.steps} == {0.07}
    assert result.facts.optimizer is not None
    assert result.facts.optimizer.kind == "SGD"


def test_the_losses_of_accumulated_batches_add_up() -> None:
    inputs, labels = classes()
    model, whole = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model) as watch:
        for _ in range(6):
            optimizer.zero_grad()
            whole.append(F.cross_entropy(model(inputs), labels).item())
            for x, y in zip(inputs.split(60), labels.split(60), strict=True):
                (F.cross_entropy(model(x), y) / 4).backward()
            optimizer.step()
    assert [s.loss for s in watch.result().steps] == pytest.approx(whole, rel=1e-5)


def test_a_scaled_loss_is_unscaled() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    losses: list[float] = []

    def scaled(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        losses.append(loss.item())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    result = trained(sgd(), scaled, epochs=1)
    assert [s.loss for s in result.steps] == pytest.approx(losses)


def test_each_of_two_models_has_the_loss_that_reaches_it() -> None:
    torch.manual_seed(0)
    made, judge = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    one = torch.optim.Adam(made.parameters(), lr=1e-3)
    other = torch.optim.Adam(judge.parameters(), lr=1e-3)
    first, second = [], []
    with gradflow.watch(made) as of_made, gradflow.watch(judge) as of_judge:
        for _ in range(5):
            fake = made(torch.randn(16, 4))
            other.zero_grad()
            loss = judge(fake.detach()).mean() - judge(torch.randn(16, 2)).mean()
            loss.backward()
            other.step()
            second.append(loss.item())
            one.zero_grad()
            loss = -judge(fake).mean()
            loss.backward()
            one.step()
            first.append(loss.item())
    assert [s.loss for s in of_made.result().steps] == first
    assert [s.loss for s in of_judge.result().steps] == second
    assert "stale-gradients" not in said(of_judge.result())


def test_a_closure_gives_the_loss_it_begins_with() -> None:
    inputs, labels = classes()
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    first: list[float] = []
    with gradflow.watch(model) as watch:
        for _ in range(4):
            values: list[float] = []

            def closure(values: list[float] = values) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs), labels)
                loss.backward()
                values.append(loss.item())
                return loss

            optimizer.step(closure)
            first.append(values[0])
    result = watch.result()
    assert [s.loss for s in result.steps] == first
    assert "stale-gradients" not in said(result)


def test_torch_is_as_it_was_after_watching() -> None:
    before = torch.autograd.backward, torch.amp.GradScaler.scale, F.cross_entropy
    trained(sgd(), epochs=1)
    assert before == (torch.autograd.backward, torch.amp.GradScaler.scale, F.cross_entropy)


# -- the loop


def without_zeroing(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def zeroed_afterwards(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
    without_zeroing(model, optimizer, x, y)
    optimizer.zero_grad()


def zeroed_to_0(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad(set_to_none=False)
    without_zeroing(model, optimizer, x, y)


def zeroed_by_data(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
    for p in model.parameters():
        if p.grad is not None:
            p.grad.data.zero_()
    without_zeroing(model, optimizer, x, y)


def test_gradients_that_are_never_zeroed() -> None:
    result = trained(sgd(), without_zeroing)
    assert "stale-gradients" in said(result)
    assert "zero_grad" in message(result, "stale-gradients")


def test_gradients_that_are_never_zeroed_and_come_to_be_no_numbers() -> None:
    result = trained(sgd(lr=1e20), without_zeroing)
    assert result.steps[-1].norm_before is None or not math.isfinite(result.steps[-1].norm_before)
    assert "stale-gradients" in said(result)


@pytest.mark.parametrize("step", [zeroed_afterwards, zeroed_to_0, zeroed_by_data])
def test_gradients_may_be_zeroed_in_any_way(step: Step) -> None:
    assert said(trained(sgd(), step)) == set()


def test_layers_that_no_optimizer_was_given() -> None:
    result = trained(lambda m: torch.optim.SGD(m[4].parameters(), lr=0.1))
    (found,) = (f for f in result.findings if f.code == "not-updated")
    assert found.layers == (1, 2)
    assert found.severity == "warning"
    assert "no optimizer" in found.message


def test_a_learning_rate_of_0() -> None:
    result = trained(sgd(lr=0.0))
    (found,) = (f for f in result.findings if f.code == "not-updated")
    assert found.severity == "error"
    assert "learning rate was 0" in found.message


def test_a_scheduler_that_counts_batches_for_epochs() -> None:
    def run(each: bool) -> WatchResult:
        inputs, labels = classes(apart=0.7)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.1)
        with gradflow.watch(model) as watch:
            for _ in range(8):
                for rows in torch.randperm(len(inputs)).split(24):
                    plain(model, optimizer, inputs[rows], labels[rows])
                    if each:
                        scheduler.step()
                if not each:
                    scheduler.step()
        return watch.result()

    assert "scheduler" in message(run(True), "not-updated")
    assert "not-updated" not in said(run(False))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_updates_that_bfloat16_swallows(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 4)
    y = 2 * torch.tanh(x.sum(1, keepdim=True)) + 1
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)).to(dtype)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.8, 0.8)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)
    with gradflow.watch(model, optimizer=adam) as watch:
        for _ in range(200):
            adam.zero_grad()
            F.mse_loss(model(x.to(dtype)).float(), y).backward()
            adam.step()
    found = [f.message for f in watch.result().findings if f.code == "step-size"]
    assert any("bfloat16 holds" in message for message in found) == (dtype == torch.bfloat16)


def test_updates_that_round_to_0_since_the_gradient_vanished() -> None:
    """A layer behind a gate that is shut: the optimizer has it, and no rate moves it."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = nn.Linear(8, 8), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(torch.cat([x, 1e-20 * self.first(x)], 1))

    model, (x, y) = Gated(), classes()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        for _ in range(40):
            plain(model, optimizer, x, y)
    assert "it has vanished" in message(watch.result(), "not-updated")


@pytest.mark.parametrize("rate", [1e-6, 1e-5])
def test_steps_that_are_far_too_small(rate: float) -> None:
    result = trained(adam(lr=rate), epochs=15)
    assert "step-size" in said(result)
    assert "moved by at most" in message(result, "step-size")


def test_so_few_steps_that_the_right_ones_come_nowhere_either() -> None:
    fine_tuning = trained(adam(lr=3e-5), batch=60, epochs=1)  # 4 steps
    assert 1e-5 < (fine_tuning.records[0].update_ratio or 0) < 1e-3
    assert "step-size" not in said(fine_tuning)
    assert "step-size" in said(trained(adam(lr=1e-7), batch=60, epochs=1))
    assert "step-size" in said(trained(adam(lr=3e-5), batch=60, epochs=10))


@pytest.mark.parametrize("make", [adam(lr=1.0), adam(lr=3.0), sgd(lr=30.0)])
def test_steps_that_are_far_too_large(make: Callable[[nn.Module], Any]) -> None:
    result = trained(make, epochs=12)
    assert said(result) & {"step-size", "diverged", "broken"}


def test_momentum_that_lasts_longer_than_the_run() -> None:
    assert "momentum 0.9999" in message(trained(sgd(lr=0.02, momentum=0.9999)), "step-size")


def test_weights_that_decay_away() -> None:
    result = trained(sgd(lr=0.1, momentum=0.9, weight_decay=0.5), epochs=12)
    assert "weight decay of 0.5" in message(result, "weight-decay")


def penalised(strength: float) -> Step:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        size = torch.stack([p.abs().sum() for p in model.parameters()]).sum()
        (F.cross_entropy(model(x), y) + strength * size).backward()
        optimizer.step()

    return step


def test_a_penalty_that_takes_the_weights_away() -> None:
    result = trained(adam(lr=3e-3), penalised(1.0))
    assert "takes the size of the weights" in message(result, "weight-decay")
    assert "weight-decay" not in said(trained(adam(lr=3e-3), penalised(1e-4)))


def ended_by(error: type[Exception], loss: Callable[[Tensor, Tensor], Tensor]) -> WatchResult:
    inputs, labels = classes(8)
    model = network()
    watch = gradflow.watch(model)
    with pytest.raises(error), watch:
        loss(model(inputs), labels).backward()
    return watch.result()


def test_labels_that_a_criterion_does_not_take() -> None:
    result = ended_by(IndexError, lambda scores, labels: F.cross_entropy(scores, labels + 1))
    assert result.verdict == "targets"
    assert "3 classes takes 0 to 2" in message(result, "targets")
    ignored = ended_by(IndexError, lambda s, y: F.cross_entropy(s, y - 3, ignore_index=-1))
    assert "go from -3 to -2" in message(ignored, "targets")


def test_shapes_that_a_criterion_does_not_take() -> None:
    result = ended_by(ValueError, lambda s, y: F.binary_cross_entropy_with_logits(s, y.float()))
    assert result.verdict == "shapes"
    assert "(8, 3)" in message(result, "shapes")
    fewer = ended_by(ValueError, lambda s, y: F.cross_entropy(s, y[1:]))
    assert "(7,)" in message(fewer, "shapes")


def test_numbers_that_are_no_probabilities() -> None:
    def one_hot(y: Tensor, times: float = 1.0) -> Tensor:
        return times * F.one_hot(y, 3).float()

    raw = ended_by(RuntimeError, lambda s, y: F.binary_cross_entropy(s, one_hot(y)))
    assert raw.verdict == "output-activation"
    assert "sigmoid" in message(raw, "output-activation")
    large = ended_by(
        RuntimeError, lambda s, y: F.binary_cross_entropy(s.sigmoid(), one_hot(y, 255))
    )
    assert large.verdict == "targets"
    assert "divided by 255" in message(large, "targets")


def test_clipping_that_leaves_a_thousandth() -> None:
    def clipped(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()

    assert {"clipping", "step-size"} <= said(trained(sgd(lr=0.1), clipped))


def test_clipping_makes_no_step_of_adam_smaller_until_its_epsilon_counts() -> None:
    def clipped(limit: float) -> Step:
        def step(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), limit)
            optimizer.step()

        return step

    usual = trained(adam(), clipped(0.05), epochs=3)
    (remark,) = [f for f in usual.findings if f.code == "clipping"]
    assert remark.severity == "info"
    assert "Adam divides a gradient's size out" in remark.message
    assert "clipping" in said(trained(adam(), clipped(1e-7), epochs=3))


@pytest.mark.parametrize("fixed", [False, True])
def test_inputs_that_are_shuffled_without_their_labels(fixed: bool) -> None:
    inputs, labels = classes()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with gradflow.watch(model) as watch:
        for _ in range(8):
            order = torch.randperm(len(inputs))
            x, y = inputs[order], labels[order] if fixed else labels
            for k in range(0, len(x), 24):
                plain(model, optimizer, x[k : k + 24], y[k : k + 24])
    result = watch.result()
    assert ("targets" in said(result)) is not fixed
    assert fixed or "shuffle" in message(result, "targets")


def test_places_in_a_batch_are_no_conflicting_targets() -> None:
    """A contrastive loss whose targets are places: each example comes with another every epoch."""
    inputs, _ = classes()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with gradflow.watch(model) as watch:
        for _ in range(8):
            for rows in torch.randperm(len(inputs)).split(24):
                codes = F.normalize(model(inputs[rows]), dim=1)
                optimizer.zero_grad()
                F.cross_entropy(codes @ inputs[rows][:, :3].T, torch.arange(24)).backward()
                optimizer.step()
    assert "targets" not in said(watch.result())


def test_a_run_that_is_too_short() -> None:
    assert "unfinished" in said(trained(sgd(lr=0.01, momentum=0.9), epochs=6, batch=240))


def test_labels_that_have_nothing_to_do_with_the_inputs_leave_the_loss_where_it_is() -> None:
    torch.manual_seed(3)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    with gradflow.watch(model) as watch:
        for _ in range(100):
            plain(model, optimizer, torch.randn(32, 8), torch.randint(3, (32,)))
    assert "stuck" in said(watch.result())


# -- what is not finite


def test_a_loss_whose_slope_is_infinite_is_told_from_a_layer() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs, _ = classes(16)
    with gradflow.watch(model) as watch:
        for step in range(6):
            optimizer.zero_grad()
            made = model(inputs)
            apart = (made - made.detach()).pow(2).sum(1) if step == 3 else made.pow(2).sum(1)
            apart.sqrt().mean().backward()
            optimizer.step()
    result = watch.result()
    assert result.verdict == "broken"
    assert "the loss" in message(result, "broken")
    assert result.facts.first_nonfinite is not None
    assert result.facts.first_nonfinite.what == "gradient"
    assert result.facts.first_nonfinite.step == 4


def test_values_that_became_nan_are_not_said_to_be_alike() -> None:
    result = EXAMPLES["watching.collapse"]["collapse"]()
    assert isinstance(result, WatchResult)
    assert [f.code for f in collapse(result)] == ["collapse"]
    lost = replace(result.facts, first_nonfinite=NonFiniteFacts("gradient", 4))
    assert list(collapse(replace(result, facts=lost))) == []


@pytest.mark.parametrize(
    ("where", "says", "advice"),
    [
        ("inputs", "3 of the batch's 128 input values are not finite", "leave these examples out"),
        ("targets", "3 of the batch's 48 targets are not finite", "leave these examples out"),
        ("loss", "the loss takes the logarithm of exactly 0, at 3 entries", "log_softmax"),
    ],
)
def test_what_made_the_loss_so_is_told_apart(where: str, says: str, advice: str) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with gradflow.watch(model) as watch:
        for step in range(6):
            inputs, target = torch.randn(16, 8), torch.rand(16, 3)
            wrong = {"inputs": inputs, "targets": target}.get(where)
            if step == 3 and wrong is not None:
                wrong.view(-1)[:3] = torch.nan
            optimizer.zero_grad()
            made = model(inputs)
            shift = torch.zeros(16, 3)
            shift.view(-1)[:3] = -200.0 if step == 3 and where == "loss" else 0.0
            ((made + shift).exp().log().mean() + F.mse_loss(made, target)).backward()
            optimizer.step()
    result = watch.result()
    (broken,) = [f for f in result.findings if f.code == "broken"]
    assert broken.message.startswith(f"{says}")
    assert "step 4" in broken.message
    assert advice in broken.advice


def test_a_layer_is_named_whose_output_is_not_finite() -> None:
    class Logs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = (nn.Linear(8, 8) for _ in range(3))
            self.on = False

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.second(torch.tanh(self.first(x))))
            return self.last((x - x).log() if self.on else x)

    torch.manual_seed(0)
    model = Logs()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model) as watch:
        for step in range(5):
            model.on = step == 2
            plain(model, optimizer, *classes(16))
    found = watch.result().facts.first_nonfinite
    assert found is not None
    assert (found.what, found.step, found.layers) == ("output", 3, (2,))


def test_an_update_is_named_that_is_not_finite() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.watch(model) as watch:
        for step in range(5):
            for group in optimizer.param_groups:
                group["lr"] = float("inf") if step == 2 else 0.1
            plain(model, optimizer, *classes(16))
    result = watch.result()
    found = result.facts.first_nonfinite
    assert found is not None
    assert (found.what, found.step) == ("update", 3)
    assert "update" in message(result, "broken")


def test_gradients_of_what_no_optimizer_has_are_not_called_stale() -> None:
    result = trained(lambda m: torch.optim.SGD(m[4].parameters(), lr=0.1))
    assert "stale-gradients" not in said(result)  # nothing zeroes them, and nothing steps on them


def test_a_loss_that_explodes_is_not_said_to_be_wrong_itself() -> None:
    result = trained(sgd(lr=1e4), epochs=3)
    assert result.verdict == "broken"
    assert "learning rate" in message(result, "broken")


def straight_line(lr: float, overflow: tuple[int, ...] = ()) -> WatchResult:
    """A line fitted by SGD; at some steps the loss alone is infinite, and no gradient is."""
    torch.manual_seed(0)
    model, x = nn.Linear(1, 1), torch.linspace(0, 20, 40)[:, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with gradflow.watch(model) as watch:
        for step in range(90):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), 2 * x + 1)
            (loss + torch.tensor(math.inf) if step in overflow else loss).backward()
            optimizer.step()
    return watch.result()


def test_a_loss_whose_square_overflows_before_its_slope() -> None:
    result = straight_line(0.01)
    assert result.verdict == "broken"
    assert max(s.norm_before or 0 for s in result.steps) < math.inf
    first = next(s.step for s in result.steps if not math.isfinite(s.loss or 0.0))
    assert f"the loss is not finite at step {first}, after the loss had grown" in message(
        result, "broken"
    )
    assert straight_line(0.001).verdict == "healthy"


def test_a_single_loss_that_is_infinite_is_the_loops_affair() -> None:
    assert "broken" not in said(straight_line(0.001, overflow=(20, 50)))
    assert "broken" in said(straight_line(0.001, overflow=tuple(range(50, 90))))


@pytest.mark.parametrize("sign", [1, -1])
def test_an_optimizer_that_climbs(sign: int) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, maximize=True)
    with gradflow.watch(model) as watch:
        for _ in range(8):
            inputs, labels = classes(32)
            optimizer.zero_grad()
            (sign * F.cross_entropy(model(inputs), labels)).backward()
            optimizer.step()
    found = said(watch.result())
    assert ("loss" in found) == (sign == 1)
    if sign == 1:
        assert "the optimizer climbs (maximize=True)" in message(watch.result(), "loss")


@pytest.mark.parametrize("together", [True, False])
def test_a_loss_that_another_models_optimizer_makes_is_not_called_stuck(together: bool) -> None:
    torch.manual_seed(0)
    model, judge = network(), nn.Linear(3, 3)
    both = [*model.parameters(), *judge.parameters()]
    optimizer = torch.optim.SGD(both if together else model.parameters(), lr=1e-4)
    rival = torch.optim.SGD(judge.parameters(), lr=1e-4)
    with gradflow.watch(model, optimizer=optimizer) as watch:
        for _ in range(80):
            inputs, labels = classes(32)
            optimizer.zero_grad()
            F.cross_entropy(judge(model(inputs)), labels[torch.randperm(32)]).backward()
            optimizer.step()
            rival.step()
    result = watch.result()
    assert result.facts.batch is not None
    assert result.facts.batch.through_others is not together
    assert ("stuck" in said(result)) is together


def test_weights_that_decay_away_are_no_matter_of_the_step_size() -> None:
    assert "step-size" not in said(trained(sgd(lr=0.1, momentum=0.9, weight_decay=0.5), epochs=12))


def test_a_short_run_whose_loss_lies_along_a_line() -> None:
    assert "unfinished" in said(trained(sgd(lr=0.01), epochs=3))


def test_decay_that_leads_the_steps_of_adam() -> None:
    assert "times the gradient" in message(trained(adam(weight_decay=1.0)), "weight-decay")
    assert "weight-decay" not in said(trained(adam(weight_decay=0.01)))
