"""Faults of inputs, targets, outputs, losses and graphs, each beside its mended program."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.batches import facts_of, findings_of, said
from support.old_torch import tells_hooks
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import gradflow
from gradflow.measurement.batch import SeenBatch, batch_facts
from gradflow.results.base import Finding


def mlp(inputs: int, outputs: int, *last: nn.Module) -> nn.Sequential:
    layers = (nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(32, outputs), *last)


def only(model: nn.Module, run: Callable[[], Tensor], lr: float | None = 0.01) -> Finding:
    (found,) = findings_of(facts_of(model, run, lr))
    return found


_RANDOM = torch.Generator().manual_seed(0)
X, LABELS = torch.randn(32, 10, generator=_RANDOM), torch.randint(4, (32,), generator=_RANDOM)
BINARY, NUMBERS = (torch.rand(32, 1) < 0.5).float(), torch.randn(32, 1)


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (nn.Softmax(1), "cannot fall below 0.74"),
        (nn.Sigmoid(), "cannot fall below 0.74"),
        (nn.Tanh(), "cannot fall below 0.34"),
        (nn.ReLU(), "pass no gradient on"),
    ],
)
def test_cross_entropy_wants_plain_scores(last: nn.Module, says: str) -> None:
    model = mlp(10, 4, last)
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert (found.code, found.severity) == ("output-activation", "warning")
    assert says in found.message
    assert said(model[:-1], lambda: F.cross_entropy(model[:-1](X), LABELS)) == {}


def test_the_least_loss_behind_an_activation_is_what_the_message_says() -> None:
    """The bound, by the best scores that a sigmoid can come near to."""
    best = F.cross_entropy(torch.eye(4), torch.arange(4)).item()
    assert best == pytest.approx(math.log1p(3 * math.exp(-1)), abs=1e-6)


def test_log_softmax_before_cross_entropy_changes_nothing() -> None:
    model = mlp(10, 4, nn.LogSoftmax(1))
    assert said(model, lambda: F.cross_entropy(model(X), LABELS)) == {}
    assert said(model, lambda: F.nll_loss(model(X), LABELS)) == {}


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Softmax(1), nn.ReLU(), nn.Tanh()])
def test_logits_are_not_to_be_squashed(last: nn.Module) -> None:
    model, y = mlp(10, 3, last), torch.randint(2, (32, 3)).float()
    found = only(model, lambda: F.binary_cross_entropy_with_logits(model(X), y))
    assert found.code == "output-activation"
    assert "sigmoid" in found.message


def test_the_nll_loss_of_plain_scores_has_no_bound() -> None:
    model = mlp(10, 4)
    found = only(model, lambda: F.nll_loss(model(X), LABELS))
    assert (found.code, found.severity) == ("output-activation", "error")
    assert "without bound" in found.message


def test_the_nll_loss_of_probabilities_is_a_warning() -> None:
    model = mlp(10, 4, nn.Softmax(1))
    found = only(model, lambda: F.nll_loss(model(X), LABELS))
    assert (found.code, found.severity) == ("output-activation", "warning")


@pytest.mark.parametrize("cut", [lambda z: z.clamp(1e-6, 1 - 1e-6), lambda z: F.hardtanh(z, 0, 1)])
def test_binary_cross_entropy_wants_probabilities(cut: Callable[[Tensor], Tensor]) -> None:
    model = mlp(10, 1)
    found = only(model, lambda: F.binary_cross_entropy(cut(model(X)), BINARY))
    assert found.code == "output-activation"
    assert "without a gradient" in found.message
    assert said(model, lambda: F.binary_cross_entropy(cut(model(X).sigmoid()), BINARY)) == {}


@pytest.mark.parametrize("written", ["mse", "bce", "by hand"])
def test_a_softmax_over_one_unit_is_an_error(written: str) -> None:
    model = mlp(10, 1, nn.Softmax(1))
    losses = {
        "mse": lambda: F.mse_loss(model(X), BINARY),
        "bce": lambda: F.binary_cross_entropy(model(X), BINARY),
        "by hand": lambda: (model(X) - BINARY).pow(2).mean(),
    }
    found = only(model, losses[written])
    assert (found.code, found.severity) == ("output-activation", "error")
    assert "(32, 1)" in found.message


def test_its_advice_is_not_that_of_a_gradient_that_is_0_for_another_reason() -> None:
    result = gradflow.diagnose(mlp(10, 1, nn.Softmax(1)), X, BINARY, loss=nn.BCELoss())
    assert result.verdict == "output-activation"
    assert [f.code for f in result.findings if f.severity == "error"] == ["output-activation"]


def test_cross_entropy_over_one_class_is_an_error() -> None:
    model = mlp(10, 1)
    found = only(model, lambda: F.cross_entropy(model(X), torch.zeros(32, dtype=torch.long)))
    assert (found.code, found.severity) == ("output-activation", "error")


def test_a_softmax_over_the_batch_is_told_from_one_over_pairs() -> None:
    model = mlp(10, 4, nn.Softmax(0))
    found = only(model, lambda: F.mse_loss(model(X), F.one_hot(LABELS, 4).float()))
    assert (found.code, found.severity) == ("output-activation", "error")
    assert "dimension 0" in found.message
    pairs = mlp(10, 32, nn.LogSoftmax(0))
    assert said(pairs, lambda: -pairs(X).diagonal().mean()) == {}


@pytest.mark.parametrize(
    ("last", "target"),
    [
        (nn.Sigmoid(), 2 * NUMBERS),
        (nn.Tanh(), 3 * NUMBERS),
        (nn.ReLU(), NUMBERS),
        (nn.Softplus(), NUMBERS),
        (nn.Hardtanh(0.0, 1.0), 2 * NUMBERS),
    ],
)
@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss])
def test_targets_out_of_the_outputs_reach(
    last: nn.Module, target: Tensor, loss: Callable[..., Tensor]
) -> None:
    model = mlp(10, 1, last)
    assert "output-activation" in said(model, lambda: loss(model(X), target))
    assert said(model[:-1], lambda: loss(model[:-1](X), target)) == {}


def test_a_hand_written_difference_is_read_either_way_round() -> None:
    model, target = mlp(10, 1, nn.Sigmoid()), 2 * NUMBERS.squeeze(1)
    one = facts_of(model, lambda: (model(X).squeeze(1) - target).pow(2).mean()).criteria[0]
    other = facts_of(model, lambda: (target - model(X).squeeze(1)).abs().mean()).criteria[0]
    assert (one.kind, other.kind) == ("mse", "l1")
    for criterion in (one, other):
        assert criterion.target is not None
        assert criterion.target.high == pytest.approx(target.max().item(), abs=1e-5)
        assert criterion.out_of_reach == pytest.approx(
            ((target < -0.02 - 0.05 * 2) | (target > 1.02 + 0.05 * 2)).float().mean().item(),
            abs=0.1,
        )


def test_a_scaled_activation_reaches_further() -> None:
    model = mlp(10, 1, nn.Tanh())
    assert said(model, lambda: F.mse_loss(5 * model(X), 2 * NUMBERS)) == {}


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_outputs_that_are_broadcast_are_an_error() -> None:
    model = mlp(10, 1)
    found = only(model, lambda: F.mse_loss(model(X), NUMBERS.squeeze(1)))
    assert (found.code, found.severity) == ("shapes", "error")
    assert "(32, 1) against targets (32,) to (32, 32)" in found.message
    by_hand = only(model, lambda: (model(X) - NUMBERS.squeeze(1)).square().mean())
    assert (by_hand.code, by_hand.severity) == ("shapes", "warning")
    assert said(model, lambda: F.mse_loss(model(X).squeeze(1), NUMBERS.squeeze(1))) == {}


def test_outputs_that_are_broadcast_under_a_root() -> None:
    model = mlp(10, 1)
    apart = only(model, lambda: (model(X) - NUMBERS.squeeze(1)).square().mean().sqrt())
    assert (apart.code, apart.severity) == ("shapes", "warning")
    assert said(model, lambda: (model(X) - NUMBERS).square().mean().sqrt()) == {}


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_target_that_is_broadcast_is_no_fault() -> None:
    model = mlp(10, 3)
    assert said(model, lambda: F.mse_loss(model(X), torch.zeros(3))) == {}
    assert said(model, lambda: (model(X) - NUMBERS).square().mean()) == {}


def test_one_score_per_place_is_not_one_per_class() -> None:
    model, words = nn.Linear(16, 1), torch.randn(32, 20, 16)
    found = only(model, lambda: F.cross_entropy(model(words).squeeze(2)[:, :4], LABELS))
    assert found.code == "shapes"


@pytest.mark.parametrize("written", ["minus", "by hand", "nll", "binary"])
def test_a_loss_of_the_wrong_sign(written: str) -> None:
    model = mlp(10, 4)
    labels = F.one_hot(LABELS, 4).float()
    turned = {
        "minus": lambda s: s * F.cross_entropy(model(X), LABELS),
        "by hand": lambda s: -s * model(X).log_softmax(1).gather(1, LABELS[:, None]).mean(),
        "nll": lambda s: s * F.nll_loss(model(X).log_softmax(1), LABELS),
        "binary": lambda s: -s * (labels * (model(X).sigmoid() + 1e-9).log()).sum(1).mean(),
    }[written]
    assert only(model, lambda: turned(-1)).code == "loss"
    assert said(model, lambda: turned(1)) == {}


def test_a_poisson_loss_of_targets_below_0() -> None:
    model = mlp(10, 1)
    assert only(model, lambda: F.poisson_nll_loss(model(X), NUMBERS)).code == "loss"


def test_the_first_loss_is_held_against_a_constant_predictions() -> None:
    model = mlp(10, 4)
    assert said(model, lambda: F.cross_entropy(model(X), LABELS)) == {}
    with torch.no_grad():
        model[-1].weight.mul_(300)
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert found.code == "initial-loss"
    assert "1.39" in found.message  # log 4
    binary = mlp(10, 1)
    with torch.no_grad():
        binary[-1].bias.fill_(-30.0)
    assert "initial-loss" in said(
        binary, lambda: F.binary_cross_entropy_with_logits(binary(X), BINARY)
    )


def test_inputs_that_are_not_finite_are_told_from_targets_and_losses() -> None:
    model, x, y = mlp(10, 1), X.clone(), NUMBERS.clone()
    x[0, 0], y[1, 0] = torch.nan, torch.inf
    assert only(model, lambda: F.mse_loss(model(x), NUMBERS)).code == "inputs"
    assert only(model, lambda: F.mse_loss(model(X), y)).code == "targets"
    assert only(model, lambda: F.mse_loss(model(X), -y)).code == "targets"
    for inputs, targets, says in ((x, NUMBERS, "input values"), (X, y, "targets are not")):
        result = gradflow.diagnose(mlp(10, 1), inputs, targets, loss=F.mse_loss)
        assert result.verdict == "broken"
        assert says in result.findings[0].message


def test_a_root_of_0_in_the_loss_is_named() -> None:
    model, goal = mlp(10, 10), X.clone()
    result = gradflow.diagnose(model, X, goal, loss=lambda a, b: (0 * a).pow(2).sum(1).sqrt().sum())
    assert result.verdict == "broken"
    assert "square root of exactly 0, at 32 entries" in result.findings[0].message


def test_inputs_that_are_all_alike() -> None:
    model = mlp(10, 4)
    assert only(model, lambda: F.cross_entropy(model(torch.ones(32, 10)), LABELS)).code == "inputs"


@pytest.mark.parametrize("scale", [1.0, 255.0, 1e-4])
def test_inputs_are_judged_by_the_first_update(scale: float) -> None:
    torch.manual_seed(0)
    model, x = mlp(100, 4), torch.rand(32, 100)
    codes = said(model, lambda: F.cross_entropy(model(scale * x), LABELS), 0.1)
    assert ("inputs" in codes) is (scale != 1.0)


def test_labels_out_of_the_range_of_probabilities() -> None:
    model, classes = mlp(10, 1), LABELS[:, None].float()
    for y, advice in ((classes, "as many units as classes"), (2 * BINARY - 1, "labels 0 and 1")):
        found = only(model, lambda y=y: F.binary_cross_entropy_with_logits(model(X), y))
        assert (found.code, found.severity) == ("targets", "error")
        assert advice in found.advice
    squashed = mlp(10, 1, nn.Sigmoid())
    assert only(squashed, lambda: F.mse_loss(squashed(X), 2 * BINARY - 1)).code == "targets"


def test_a_batch_of_one_class() -> None:
    model = mlp(10, 4)
    found = only(model, lambda: F.cross_entropy(model(X), torch.full((32,), 2)))
    assert found.code == "targets"
    assert "all 32 labels of the batch are 2" in found.message


@pytest.mark.parametrize("target", [2000 + 50 * NUMBERS, 400 * NUMBERS])
def test_targets_of_another_size_than_the_outputs(target: Tensor) -> None:
    model = mlp(10, 1)
    assert only(model, lambda: F.mse_loss(model(X), target)).code == "targets"
    fixed = (target - target.mean()) / target.std()
    assert said(model, lambda: F.mse_loss(model(X), fixed)) == {}


def test_targets_that_are_nothing_beside_the_outputs() -> None:
    model, target = mlp(10, 1), 1e-4 * NUMBERS
    found = only(model, lambda: F.mse_loss(model(X), target))
    assert (found.code, found.severity) == ("targets", "error")
    assert "the targets have a standard deviation of" in found.message
    assert said(model, lambda: F.mse_loss(model(X), NUMBERS)) == {}
    assert "targets" not in said(model, lambda: F.mse_loss(model(X), 0 * NUMBERS))  # a residual
    large = nn.Sequential(model, Scaled(1000.0))
    assert set(said(large, lambda: F.mse_loss(large(X), NUMBERS))) == {"initial-loss"}


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_a_loss_that_is_wrapped_again_is_cut_off() -> None:
    model = mlp(10, 4)
    wrapped = torch.tensor(F.cross_entropy(model(X), LABELS).item(), requires_grad=True)
    found = only(model, lambda: wrapped)
    assert (found.code, found.severity) == ("unreached", "error")


class Hidden(nn.Module):
    """Layers in a list, which `parameters()` does not know."""

    def __init__(self, kind: Callable[[list[nn.Module]], object]) -> None:
        super().__init__()
        self.layers = kind([nn.Linear(10, 32), nn.Linear(32, 32)])
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:  # type: ignore[attr-defined]
            x = layer(x).relu()
        return self.head(x)


class OwnWeight(nn.Module):
    """A matrix that is a plain tensor, and data of its own that takes a gradient."""

    def __init__(self, kind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = kind(torch.randn(10, 32))
        self.points = torch.randn(len(X), 10).requires_grad_()
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh((x + self.points) @ self.weight))


def test_a_plain_tensor_that_multiplies_is_not_registered() -> None:
    model, mended = OwnWeight(Tensor.requires_grad_), OwnWeight(nn.Parameter)
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert (found.code, found.severity) == ("unregistered", "error")
    assert "(10, 32)" in found.message
    assert said(mended, lambda: F.cross_entropy(mended(X), LABELS)) == {}


def test_layers_in_a_list_are_not_registered() -> None:
    model, mended = Hidden(list), Hidden(nn.ModuleList)
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert (found.code, found.severity) == ("unregistered", "error")
    assert "4 weights" in found.message
    assert said(mended, lambda: F.cross_entropy(mended(X), LABELS)) == {}


def test_weights_of_a_model_that_made_the_inputs_are_not_meant() -> None:
    maker, model = mlp(10, 10), mlp(10, 4)
    assert said(model, lambda: F.cross_entropy(model(maker(X)), LABELS)) == {}


def test_units_that_are_copies_of_each_other() -> None:
    model = mlp(10, 4)
    for layer in (model[0], model[2], model[4]):
        nn.init.constant_(layer.weight, 0.05)
        nn.init.zeros_(layer.bias)
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert (found.code, found.severity) == ("symmetric", "error")
    assert "of 0, 2 have" in found.message.replace(" and ", ", ")


def test_a_last_layer_that_starts_at_0_is_no_fault() -> None:
    model = mlp(10, 4)
    nn.init.zeros_(model[-1].weight)
    assert said(model, lambda: F.cross_entropy(model(X), LABELS)) == {}


def test_a_network_without_a_non_linearity() -> None:
    model = nn.Sequential(nn.Linear(10, 32), nn.Dropout(0.1), nn.Linear(32, 4))
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert found.code == "linear"
    assert "of the network" in found.message


def test_two_layers_in_a_row_without_one() -> None:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 4))
    found = only(model, lambda: F.cross_entropy(model(X), LABELS))
    assert found.code == "linear"
    assert "2 and 3" in found.message


@pytest.mark.parametrize(("p", "severity"), [(0.95, "warning"), (1.0, "error")])
def test_dropout_that_leaves_nothing(p: float, severity: str) -> None:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 4))
    assert said(model, lambda: F.cross_entropy(model(X), LABELS))["dropout"] == severity
    model.eval()
    assert said(model, lambda: F.cross_entropy(model(X), LABELS)) == {}


def test_a_sum_over_the_examples_at_a_rate_for_their_mean() -> None:
    torch.manual_seed(0)
    model, x, y = mlp(10, 4), torch.randn(512, 10), torch.randint(4, (512,))
    found = only(model, lambda: F.cross_entropy(model(x), y, reduction="sum"), 0.1)
    assert found.code == "step-size"
    assert "0.0002" in found.advice  # 0.1 / 512
    assert said(model, lambda: F.cross_entropy(model(x), y), 0.1) == {}


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_the_examples_changes_nothing(seed: int) -> None:
    torch.manual_seed(seed)
    last = (nn.Identity(), nn.Softmax(1), nn.Sigmoid(), nn.ReLU(), nn.Tanh(), nn.LogSoftmax(1))
    model, order = mlp(10, 4, last[seed]), torch.randperm(32)
    x, y = 10 ** torch.randint(-3, 4, (1,)) * X, 5 * torch.rand(32, 4)
    for loss, target in ((F.mse_loss, y), (F.cross_entropy, LABELS), (F.l1_loss, y)):
        one = said(model, lambda: loss(model(x), target))  # noqa: B023
        other = said(model, lambda: loss(model(x[order]), target[order]))  # noqa: B023
        assert one == other


@pytest.mark.parametrize("seed", range(3))
def test_looking_changes_nothing(seed: int) -> None:
    """Neither the gradients, nor the random state, nor what is left of the graph."""
    torch.manual_seed(seed)
    model = mlp(10, 4, nn.Dropout(0.2))
    (loss := F.cross_entropy(model(X), LABELS)).backward(retain_graph=True)
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    state = torch.random.get_rng_state()
    seen = SeenBatch(model, (X,), (), loss)
    before = [p.grad for p in model.parameters()]
    facts = batch_facts(seen)
    assert facts.loss == pytest.approx(loss.item())
    assert [id(p.grad) for p in model.parameters()] == [id(g) for g in before]
    assert torch.equal(torch.random.get_rng_state(), state)
    model.zero_grad()
    loss.backward()
    again = [p.grad for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(expected, again, strict=True) if b is not None)


def test_what_cannot_be_read_is_left_out() -> None:
    class Odd(nn.Module):
        def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
            raise RuntimeError("none of your business")

    facts = batch_facts(SeenBatch(Odd(), (), (), torch.ones((), requires_grad=True)))
    assert facts.criteria == ()
    assert findings_of(facts) == [] or facts.cut_off


def test_a_graph_that_is_gone_gives_no_facts_and_no_error() -> None:
    model = mlp(10, 4)
    loss = F.cross_entropy(model(X), LABELS)
    loss.backward()
    assert findings_of(batch_facts(SeenBatch(model, (X,), (), loss))) == []


def test_a_softmax_over_one_unit_is_seen_whatever_the_loss_is() -> None:
    model = mlp(10, 1, nn.Softmax(1))
    found = only(model, lambda: ((model(X) - NUMBERS) / NUMBERS).abs().mean())
    assert (found.code, found.severity) == ("output-activation", "error")


def test_a_softmax_over_the_steps_instead_of_the_classes() -> None:
    model, x = nn.Linear(10, 4), torch.randn(8, 20, 10)
    goal = F.one_hot(torch.randint(4, (8, 20)), 4).float()
    found = only(model, lambda: F.mse_loss(model(x).softmax(1), goal))
    assert found.code == "output-activation"
    assert "over 20 units" in found.message
    assert said(model, lambda: F.mse_loss(model(x).softmax(2), goal)) == {}
    labels = goal.argmax(2)
    logs = only(model, lambda: F.nll_loss(model(x).log_softmax(1).transpose(1, 2), labels))
    assert logs.code == "output-activation"
    assert said(model, lambda: F.nll_loss(model(x).log_softmax(2).transpose(1, 2), labels)) == {}


def test_a_softmax_where_several_labels_are_right_at_once() -> None:
    model, labels = mlp(10, 6, nn.Softmax(1)), torch.ones(32, 6)
    labels[:, :3] = 0
    found = only(model, lambda: F.binary_cross_entropy(model(X), labels))
    assert found.code == "output-activation"
    assert "sum to 3" in found.message
    scores = model[:-1]
    assert only(scores, lambda: F.cross_entropy(scores(X), labels)).code == "targets"


def test_a_criterion_that_is_given_the_target_first() -> None:
    model = mlp(10, 1, nn.Sigmoid())
    found = only(model, lambda: F.binary_cross_entropy(BINARY, model(X)))
    assert found.code == "loss"
    assert "target first" in found.message
    numbers = mlp(10, 1)
    assert said(numbers, lambda: F.mse_loss(NUMBERS, numbers(X))) == {}
    squashed = mlp(10, 1, nn.Sigmoid())
    assert "output-activation" in said(squashed, lambda: F.mse_loss(2 * NUMBERS, squashed(X)))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_one_number_for_several_outputs() -> None:
    model = mlp(10, 5)
    assert only(model, lambda: F.mse_loss(model(X), NUMBERS)).code == "shapes"


def test_a_network_of_convolutions_and_pooling_alone_has_no_activation() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 1)
    )
    model.append(nn.Sigmoid())
    x = torch.rand(32, 1, 14, 14)
    assert only(model, lambda: F.binary_cross_entropy(model(x), BINARY)).code == "linear"


#: Elsewhere it cannot be told whether what a node keeps has to be computed again.
HOOKS_SHOWN = hasattr(torch._C._autograd.SavedTensor, "unpack_hook")


class Dropping(nn.Module):
    """Dropout as a function, perhaps beside one as a module, or in a checkpoint."""

    def __init__(self, p: float, beside: float = 0.0, checkpointed: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.p = nn.Linear(10, 64), nn.Linear(64, 4), p
        self.other, self.checkpointed, self.passes = nn.Dropout(beside), checkpointed, 0

    def forward(self, x: Tensor) -> Tensor:
        within = self._within
        return checkpoint(within, x, use_reentrant=False) if self.checkpointed else within(x)

    def _within(self, x: Tensor) -> Tensor:
        self.passes += 1
        hidden = self.other(self.a(x).relu())
        return self.b(F.dropout(hidden, self.p, self.training))


@pytest.mark.skipif(not HOOKS_SHOWN, reason="this torch does not show hooks of saved tensors")
@pytest.mark.parametrize(("p", "beside"), [(0.2, 0.0), (0.95, 0.0), (0.95, 0.1)])
def test_dropout_as_a_function(p: float, beside: float) -> None:
    torch.manual_seed(0)
    model = Dropping(p, beside)
    batch = facts_of(model, lambda: F.cross_entropy(model(X), LABELS))
    assert batch.dropout == (pytest.approx(p, abs=1e-5), int(p > 0.9))


@tells_hooks
def test_dropout_in_a_checkpoint_is_not_computed_again() -> None:
    model = Dropping(0.95, checkpointed=True)
    facts_of(model, lambda: F.cross_entropy(model(X), LABELS))
    assert model.passes == 2  # forward, and once more for the backward pass


class Weighted(nn.Module):
    """A model that returns its loss, with some numbers multiplied by ten, others by 0."""

    def __init__(self, drawn: bool) -> None:
        super().__init__()
        self.a, self.b, self.drawn = nn.Linear(10, 64), nn.Linear(64, 16), drawn

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x).relu()
        if not self.drawn:  # the first ones, as no dropout would choose
            factor = torch.zeros_like(hidden)
            factor[:, :3] = 10.0
            hidden = hidden * factor
        scores = self.b(hidden)
        masked = (torch.rand(scores.shape) < 0.1) / 0.1 if self.drawn else torch.ones(())
        return ((scores - 1) ** 2 * masked).mean()


@pytest.mark.parametrize("drawn", [False, True])
def test_a_mask_is_no_dropout(drawn: bool) -> None:
    torch.manual_seed(0)
    model = Weighted(drawn)
    assert facts_of(model, lambda: model(X)).dropout == (0.0, 0)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (lambda a: (0 * a).log().sum(), "logarithm"),
        (lambda a: (a / (0 * X[:, :4])).sum(), "quotient"),
        (lambda a: (0 * a + 1).acos().sum(), "arc cosine"),
    ],
)
def test_operations_without_a_finite_gradient_are_named(
    written: Callable[[Tensor], Tensor], says: str
) -> None:
    result = gradflow.diagnose(mlp(10, 4), X, loss=written)
    assert result.verdict == "broken"
    assert says in result.findings[0].message


def far(kind: str) -> tuple[nn.Module, Tensor]:
    """A first layer of one kind, and inputs far from the origin."""
    x = 100 + torch.randn(32, 10)
    if kind == "recurrent":
        return Last(), x.reshape(32, 5, 2)
    if kind == "convolution":
        head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
        return nn.Sequential(nn.Conv1d(1, 4, 3), *head), x.reshape(32, 1, 10)
    return mlp(10, 4), x


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, cells: Any = nn.LSTM) -> None:
        super().__init__()
        self.cells, self.head = cells(2, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


@pytest.mark.parametrize("cells", [nn.RNN, nn.LSTM, nn.GRU])
def test_inputs_far_from_the_origin_into_a_recurrence_that_is_diagnosed(cells: Any) -> None:
    """There an input stands that asks for the gradient over the time steps."""
    torch.manual_seed(0)
    model = Last(cells)
    given = 100 + torch.randn(32, 5, 2)
    codes = [
        {f.code for f in gradflow.diagnose(model, x, LABELS).findings} for x in (given, given - 100)
    ]
    assert "inputs" in codes[0]
    assert "inputs" not in codes[1]


@pytest.mark.parametrize("kind", ["linear", "convolution", "recurrent"])
def test_inputs_far_from_the_origin_into_any_first_layer(kind: str) -> None:
    torch.manual_seed(0)
    model, x = far(kind)
    assert "inputs" in said(model, lambda: F.cross_entropy(model(x), LABELS), 1e-4)
    near = (x - x.mean()) / x.std()
    assert said(model, lambda: F.cross_entropy(model(near), LABELS), 1e-4) == {}


def test_large_inputs_that_saturate_the_first_layer() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 4)), 30 * X
    found = only(model, lambda: F.cross_entropy(model(x), LABELS), 1e-4)
    assert found.code == "inputs"
    assert "tanh" in found.message


def test_large_inputs_that_make_the_first_loss_large() -> None:
    torch.manual_seed(0)
    model, x = mlp(10, 1), 200 * X
    found = only(model, lambda: F.mse_loss(model(x), NUMBERS), 1e-9)
    assert found.code == "inputs"
    assert "constant prediction" in found.message
