"""Modules that gradflow did not build: measured as they are, left as they were."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow import NetworkConfig, diagnose
from gradflow.errors import GradflowError
from gradflow.results.diagnosis import DiagnosisResult


def autograd_norms(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], names: list[str]
) -> list[float]:
    """Norms of the weights' gradients by a plain backward pass over a float64 copy."""
    model = copy.deepcopy(model).double()
    loss(model).backward()
    modules = dict(model.named_modules())
    return [float(modules[name].weight.grad.norm()) for name in names]


def assert_autograds(
    result: DiagnosisResult, model: nn.Module, loss: Callable[[nn.Module], Tensor]
) -> None:
    names = [row.name for row in result.records]
    expected = autograd_norms(model, loss, names)
    for row, norm in zip(result.records, expected, strict=True):
        assert row.gradient_norm == pytest.approx(norm, rel=1e-4), row.name


class Everything(nn.Module):
    """Functional and in-place activations, tied weights, dropout, batch norm, two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.tied, self.out = nn.Linear(8, 8), nn.Linear(8, 3)
        self.tied.weight = self.second.weight
        self.calls = 0

    def forward(self, x: Tensor, *, shift: Tensor) -> dict[str, Tensor]:
        x = self.first(x)
        x = F.relu_(self.norm(x)) + shift
        x = self.drop(self.tied(F.gelu(self.second(x))))
        return {"logits": self.out(torch.tanh(x)), "norms": x.norm(dim=1)}


def everything() -> tuple[Everything, dict[str, Tensor], Tensor]:
    torch.manual_seed(0)
    inputs = {"x": torch.randn(16, 6), "shift": torch.randn(16, 8)}
    return Everything(), inputs, torch.randint(3, (16,))


def dict_loss(output: dict[str, Tensor], labels: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"], labels) + 0.1 * output["norms"].mean()


def test_several_inputs_and_a_loss_of_a_dictionary() -> None:
    model, inputs, labels = everything()
    model.eval()  # no dropout, so that a float64 copy sees the same
    result = diagnose(model, inputs, labels, loss=dict_loss)
    wide = {name: value.double() for name, value in inputs.items()}
    assert_autograds(result, model, lambda m: dict_loss(m(**wide), labels))
    assert [row.name for row in result.records] == ["first", "second", "tied", "out", "norm"]
    assert result.hidden == 3


def test_functional_and_in_place_activations_are_seen() -> None:
    model, inputs, labels = everything()
    model.eval()
    with torch.no_grad():
        model.norm.bias[:2] = -1e3  # two of eight units that never fire
        hidden = F.relu(model.norm(model.first(inputs["x"])))
    first, second, *_ = diagnose(model, inputs, labels, loss=dict_loss).records
    assert first.dead_fraction == pytest.approx(2 / 8)
    assert first.activation_mean == pytest.approx(float(hidden.mean()), rel=1e-5)
    assert first.zero_fraction == pytest.approx(float((hidden == 0).double().mean()))
    assert second.dead_fraction == 0  # GELU


def test_the_default_loss_is_cross_entropy_of_the_logits() -> None:
    model, inputs, labels = everything()
    model.eval()
    result = diagnose(model, inputs, labels)
    wide = {name: value.double() for name, value in inputs.items()}
    assert_autograds(result, model, lambda m: F.cross_entropy(m(**wide)["logits"], labels))


def test_tied_weights_show_the_gradient_over_both_uses_and_say_so() -> None:
    model, inputs, labels = everything()
    result = diagnose(model, inputs, labels, loss=dict_loss)
    second, tied = result.records[1:3]
    assert second.gradient_norm == tied.gradient_norm
    assert second.delta_log10_rms != tied.delta_log10_rms
    assert [f.layers for f in result.findings if f.code == "shared"] == [(2, 3)]


def snapshot(model: nn.Module) -> dict[str, Any]:
    return {
        "state": {n: (t, t.detach().clone(), t._version) for n, t in state(model).items()},
        "grads": {n: None if p.grad is None else p.grad.clone() for n, p in params(model)},
        "training": [m.training for m in model.modules()],
        "hooks": [
            (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
            for m in model.modules()
        ],
        "requires": [p.requires_grad for _, p in params(model)],
        "random": (torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1]),
    }


def params(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(model.named_parameters(remove_duplicate=False))


def state(model: nn.Module) -> dict[str, Tensor]:
    return dict([*params(model), *model.named_buffers()])


def assert_as_it_was(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    for name, (tensor, values, _) in before["state"].items():
        assert after["state"][name][0] is tensor, name
        assert torch.equal(tensor, values), name
    for name, grad in before["grads"].items():
        now = after["grads"][name]
        assert (grad is None and now is None) or torch.equal(grad, now), name
    assert after["training"] == before["training"]
    assert after["hooks"] == before["hooks"]
    assert after["requires"] == before["requires"]
    for one, other in zip(after["random"], before["random"], strict=True):
        assert np.array_equal(np.asarray(one, dtype=object), np.asarray(other, dtype=object))


class Untidy(Everything):
    """Draws from every generator, replaces a buffer, and leaves evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor, *, shift: Tensor) -> dict[str, Tensor]:
        self.seen = self.seen + random.random() + float(np.random.rand())
        self.train()
        return super().forward(x, shift=shift)


def test_a_model_is_left_exactly_as_it_was() -> None:
    torch.manual_seed(1)
    model = Untidy().eval()
    _, inputs, labels = everything()
    calls: list[int] = []
    model.first.register_forward_hook(lambda *_: calls.append(1))
    model.second.weight.requires_grad_(False)
    model.out.weight.grad = torch.ones_like(model.out.weight)
    before = snapshot(model)
    diagnose(model, inputs, labels, loss=dict_loss)
    assert_as_it_was(model, before)
    assert calls == [1]  # the user's own hook ran


def test_a_model_that_raises_is_left_as_it_was_too() -> None:
    model, inputs, labels = everything()
    inputs["shift"] = torch.randn(16, 5)
    before = snapshot(model)
    with pytest.raises(GradflowError, match="must match the size"):
        diagnose(model, inputs, labels, loss=dict_loss)
    assert_as_it_was(model, before)


def test_a_pending_graph_of_the_users_can_still_be_backpropagated() -> None:
    model, inputs, labels = everything()
    loss = dict_loss(model(**inputs), labels)
    diagnose(model.eval(), inputs, labels, loss=dict_loss)
    loss.backward()
    assert model.first.weight.grad is not None


def test_inputs_are_not_changed_by_an_in_place_first_layer() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs = torch.randn(8, 4)
    before = inputs.clone()
    diagnose(model, inputs, torch.zeros(8, dtype=torch.long))
    assert torch.equal(inputs, before)


def test_frozen_layers_have_rows_without_gradients() -> None:
    model = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(8, 8), nn.Tanh())))
    model[0].requires_grad_(False)  # nothing flows there
    model[4].requires_grad_(False)  # passes a gradient on
    result = diagnose(model, torch.randn(16, 8), torch.zeros(16, dtype=torch.long))
    first, second, third, _ = result.records
    assert first.gradient_norm is None
    assert first.delta_log10_rms is None
    assert first.activation_mean is not None
    assert second.gradient_norm is not None
    assert third.gradient_norm is None
    assert third.delta_log10_rms is not None


def test_a_model_with_nothing_to_train_is_refused() -> None:
    model = nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(GradflowError, match="no parameter of the model requires a gradient"):
        diagnose(model, torch.randn(4, 4), torch.zeros(4, dtype=torch.long))


def test_a_module_called_in_a_loop_has_one_row() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.RNNCell(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(len(x), 8)
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return self.out(h)

    torch.manual_seed(0)
    model, inputs, labels = Loop(), torch.randn(5, 7, 3), torch.randint(2, (5,))
    result = diagnose(model, inputs, labels)
    assert [row.name for row in result.records] == ["cell", "out"]
    assert result.facts.repeated == ((1, 7),)
    wide, states = copy.deepcopy(model).double(), []
    h = torch.zeros(5, 8, dtype=torch.float64)
    for t in range(7):
        h = wide.cell(inputs[:, t].double(), h)
        h.retain_grad()
        states.append(h)
    F.cross_entropy(wide.out(h), labels).backward()
    own = torch.stack([state.grad for state in states if state.grad is not None]) * 5
    rms = float(own.square().mean().sqrt())
    assert 10 ** result.records[0].delta_log10_rms == pytest.approx(rms, rel=1e-5)
    both = [wide.cell.weight_ih.grad, wide.cell.weight_hh.grad]
    norm = float(torch.cat([g.flatten() for g in both]).norm())
    assert result.records[0].gradient_norm == pytest.approx(norm, rel=1e-5)


def test_torchs_own_attention_and_recurrent_modules_have_rows() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.rnn, self.out = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(self.block(x))[0][:, -1])

    torch.manual_seed(0)
    model, inputs, labels = Both(), torch.randn(4, 5, 8), torch.randint(3, (4,))
    result = diagnose(model, inputs, labels)
    rows = {row.name: row for row in result.records}
    layers = ["block.self_attn", "block.linear1", "block.linear2", "rnn", "out"]
    assert list(rows) == [*layers, "all LayerNorm"]
    wide = copy.deepcopy(model).double()
    F.cross_entropy(wide(inputs.double()), labels).backward()
    attention, rnn = wide.block.self_attn, wide.rnn
    for name, weights in {
        "block.self_attn": [attention.in_proj_weight, attention.out_proj.weight],
        "rnn": [rnn.weight_ih_l0, rnn.weight_hh_l0],
    }.items():
        norm = float(torch.cat([w.grad.flatten() for w in weights]).norm())
        assert rows[name].gradient_norm == pytest.approx(norm, rel=1e-5)
        assert rows[name].delta_log10_rms is not None


def test_lazy_modules_are_measured_on_a_copy_and_stay_lazy() -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3))

    inputs, labels = torch.randn(6, 5), torch.randint(3, (6,))
    model = lazy()
    result = diagnose(model, inputs, labels)
    assert torch.nn.parameter.is_lazy(model[0].weight)
    assert "lazy" in {f.code for f in result.findings}
    torch.manual_seed(4)
    model = lazy()
    seen = diagnose(model, inputs, labels)
    model(inputs)  # the user's own first pass draws the numbers that the copy got
    assert_autograds(seen, model, lambda m: F.cross_entropy(m(inputs.double()), labels))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, importing dynamo
@pytest.mark.parametrize("how", ["whole", "part", "in place"])
def test_compiled_models_are_measured_through_the_original_module_and_it_is_said(how: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    inputs, labels = torch.randn(6, 5), torch.randint(3, (6,))
    plain = diagnose(model, inputs, labels)
    compiled: nn.Module = model
    if how == "whole":
        compiled = torch.compile(model)  # type: ignore[assignment]
    elif how == "part":
        model[0] = torch.compile(model[0])  # type: ignore[assignment]
    else:
        model.compile()
    result = diagnose(compiled, inputs, labels)
    assert "compiled" in {f.code for f in result.findings}
    assert [row.name for row in result.records] == ["0", "2"]
    assert [row.gradient_norm for row in result.records] == [
        row.gradient_norm for row in plain.records
    ]


def deep(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    layers = [m for _ in range(6) for m in (nn.Linear(16, 16), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(16, 4)).to(dtype)
    return model, torch.randn(32, 16, dtype=dtype), torch.randint(4, (32,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True], ids=["model", "autocast"])
def test_half_precision_gives_the_magnitudes_to_its_own_accuracy(
    dtype: torch.dtype, autocast: bool
) -> None:
    model, inputs, labels = deep()
    wide = copy.deepcopy(model).double()
    F.cross_entropy(wide(inputs.double()), labels).backward()
    expected = [float(m.weight.grad.norm()) for m in wide if isinstance(m, nn.Linear)]
    if autocast:
        with torch.autocast("cpu", dtype=dtype):
            result = diagnose(model, inputs, labels)
    else:
        result = diagnose(model.to(dtype), inputs.to(dtype), labels)
    # bfloat16 has 8 bits, float16 11; errors of seven layers add up as the root of their number.
    tolerance = 3 * 7**0.5 * float(torch.finfo(dtype).eps)
    for row, norm in zip(result.records, expected, strict=True):
        assert row.gradient_norm == pytest.approx(norm, rel=tolerance)


class InOneDtype(nn.Module):
    """Casts its input to one dtype, so that a copy in another cannot run."""

    def __init__(self, dtype: torch.dtype, scale: float) -> None:
        super().__init__()
        self.dtype = dtype
        self.layers = nn.ModuleList(nn.Linear(8, 8, dtype=dtype) for _ in range(4))
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x.to(self.dtype))
        return x


def test_a_model_that_cannot_run_in_float64_says_why_its_magnitudes_are_not_known() -> None:
    torch.manual_seed(0)
    model = InOneDtype(torch.float32, 1e-16)
    inputs, labels = torch.randn(4, 8), torch.zeros(4, dtype=torch.long)
    (note,) = [f for f in diagnose(model, inputs, labels).findings if f.code == "no-copy"]
    assert note.layers == (1,)  # δ of 1e-48; that of the second layer is 1e-32
    assert "layers.0" in note.message
    assert "must have the same dtype" in note.message
    healthy = diagnose(InOneDtype(torch.float32, 1.0), inputs, labels)
    assert "precision" not in {f.code for f in healthy.findings}


def test_a_half_precision_model_that_cannot_run_in_float32_says_why() -> None:
    torch.manual_seed(0)
    model = InOneDtype(torch.float16, 1.0)
    inputs, labels = torch.randn(4, 8), torch.zeros(4, dtype=torch.long)
    (note,) = [f for f in diagnose(model, inputs, labels).findings if f.code == "no-copy"]
    assert "must have the same dtype" in note.message
    free = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).half()
    assert "no-copy" not in {f.code for f in diagnose(free, inputs.half(), labels).findings}


def test_a_checkpointed_model_has_each_layer_once() -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = deep()[0], nn.Linear(4, 3)

        def forward(self, x: Tensor, reentrant: bool) -> Tensor:
            return self.out(checkpoint(self.body, x, use_reentrant=reentrant))

    model, labels = Checkpointed(), torch.randint(3, (8,))
    x = torch.randn(8, 16)
    whole = diagnose(model, (x, False), labels).records
    assert len(whole) == 8
    # Inputs without a gradient: such a checkpoint hands none to what is inside.
    with pytest.warns(UserWarning, match="None of the inputs"):
        result = diagnose(model, (x, True), labels)
    assert {f.code: f.layers for f in result.findings}["unreached"] == tuple(range(1, 8))
    x.requires_grad_()
    reached = diagnose(model, (x, True), labels).records
    assert [r.gradient_norm for r in reached] == pytest.approx([r.gradient_norm for r in whole])
    assert [r.delta_log10_rms for r in reached] == pytest.approx([r.delta_log10_rms for r in whole])
    assert x.grad is None
    assert all(p.grad is None for p in model.parameters())


class OwnActivation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def test_an_activation_of_the_users_own_is_recognised_by_what_it_does() -> None:
    torch.manual_seed(0)
    inputs, labels = torch.randn(16, 8), torch.randint(3, (16,))
    layers = [nn.Linear(8, 8), nn.GELU(approximate="tanh"), nn.Linear(8, 3)]
    theirs = diagnose(nn.Sequential(*layers), inputs, labels).records[0]
    layers[1] = OwnActivation()
    own = diagnose(nn.Sequential(*layers), inputs, labels).records[0]
    assert own.saturated_fraction == pytest.approx(theirs.saturated_fraction)
    assert own.activation_variance == pytest.approx(theirs.activation_variance, rel=1e-5)


def test_a_dead_channel_is_dead_everywhere() -> None:
    conv = nn.Conv2d(1, 4, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with torch.no_grad():
        conv.bias[:3] = -1e3
        conv.bias[3] = 0
    row = diagnose(model, torch.randn(2, 1, 6, 6), torch.tensor([0, 1])).records[0]
    assert row.dead_fraction == pytest.approx(3 / 4)


def test_a_layer_that_overflows_without_an_activation_module_is_named() -> None:
    class Overflows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x) * 1e25
            return x

    result = diagnose(Overflows(), torch.randn(4, 4), torch.zeros(4, dtype=torch.long))
    assert result.verdict == "broken"
    assert "layer 3 (layers.2) is the first" in result.findings[0].message


def test_a_model_that_raises_says_the_layer_reached_and_the_exceptions_line() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(9, 2)))
    with pytest.raises(GradflowError) as refused:
        diagnose(model, torch.randn(3, 4), torch.zeros(3, dtype=torch.long))
    said = refused.value.message
    assert "RuntimeError in layer '2.0' (Linear)" in said
    assert "mat1 and mat2 shapes cannot be multiplied (3x8 and 9x2)" in said
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda output, _: output.argmax(1).double().mean(), "depends on no parameter"),
        (lambda output, _: 1.0, "the loss is a float"),
        (lambda output, _: output["logits"], "the loss raised IndexError"),
    ],
)
def test_a_loss_that_is_none_is_refused(loss: Any, says: str) -> None:
    with pytest.raises(GradflowError, match=says):
        diagnose(nn.Linear(4, 2), torch.randn(3, 4), torch.zeros(3), loss=loss)


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(GradflowError, match="no layer with weights"):
        diagnose(nn.LayerNorm(4), torch.randn(3, 4), torch.zeros(3, dtype=torch.long))


def test_a_data_parallel_module_is_measured_inside() -> None:
    inner, inputs, labels = deep()
    result = diagnose(nn.DataParallel(inner), inputs, labels)
    assert [row.name for row in result.records][:2] == ["0", "2"]


def test_weight_normalised_layers_are_measured() -> None:
    from torch.nn.utils.parametrizations import weight_norm

    torch.manual_seed(0)
    model = nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 2))
    inputs, labels = torch.randn(8, 4), torch.randint(2, (8,))
    result = diagnose(model, inputs, labels)
    assert [row.name for row in result.records] == ["0", "2"]
    F.cross_entropy(model(inputs), labels).backward()
    grads = [p.grad for p in model[0].parametrizations.weight.parameters()]
    norm = float(torch.cat([g.flatten() for g in grads]).norm())
    assert result.records[0].gradient_norm == pytest.approx(norm, rel=1e-5)


def test_a_config_is_still_a_config() -> None:
    assert diagnose(NetworkConfig(depth=2, device="cpu")).verdict == "healthy"


@pytest.mark.parametrize(
    ("inputs", "hint"),
    [(torch.zeros(4, 3), "--input-ids"), (torch.full((4, 3), 99), "--vocab")],
    ids=["not integers", "too large"],
)
def test_inputs_that_an_embedding_cannot_take_are_told_what_it_takes(
    inputs: Tensor, hint: str
) -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(GradflowError) as raised:
        diagnose(model, inputs, torch.tensor([0, 1, 0, 1]))
    assert "layer '0' (Embedding)" in raised.value.message
    assert hint in (raised.value.hint or "")
