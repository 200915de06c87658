"""One pass over a model: every magnitude against plain autograd, the model left as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from support.gpu import NEEDS_CUDA
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement.recorder import QUANTITIES, Measurement, Recorder, measure, normalized


def quantity(measured: Measurement, name: str) -> Tensor:
    """(layers, replicas) of one quantity."""
    return measured.values[:, QUANTITIES.index(name)]


def network(depth: int = 6, width: int = 20, gain: float = 1.0) -> nn.Sequential:
    torch.manual_seed(depth)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(gain)
    return model


def batch(width: int = 20, examples: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(examples, width, generator=generator)
    return inputs, torch.randint(10, (examples,), generator=generator)


def plain_autograd(model: nn.Sequential, inputs: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """δ's rms and the weight gradients' norms in float64, with no hook and no scaling."""
    model = copy.deepcopy(model).double()
    x, zs = inputs.double(), []
    for module in model:
        x = module(x)
        if isinstance(module, nn.Linear):
            x.retain_grad()
            zs.append(x)
    F.cross_entropy(x, labels).backward()
    linears = [m for m in model if isinstance(m, nn.Linear)]
    return {
        "delta_rms": [float(z.grad.square().mean().sqrt()) for z in zs if z.grad is not None],
        "gradient_norm": [
            float(m.weight.grad.norm()) for m in linears if m.weight.grad is not None
        ],
        "bias_gradient_norm": [
            float(m.bias.grad.norm()) for m in linears if m.bias.grad is not None
        ],
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("gain", [0.1, 1.0, 5.0])
def test_every_magnitude_is_plain_autograds(
    dtype: torch.dtype, tolerance: float, gain: float
) -> None:
    inputs, labels = batch()
    model = network(gain=gain)
    truth = plain_autograd(model, inputs, labels)
    model = model.to(dtype)
    measured = measure(model, lambda: F.cross_entropy(model(inputs.to(dtype)), labels))
    exponents = {
        "delta_rms": "delta_exponent",
        "gradient_norm": "weight_exponent",
        "bias_gradient_norm": "weight_exponent",
    }
    for name, exponent in exponents.items():
        got = quantity(measured, name)[:, 0] * 2 ** quantity(measured, exponent)[:, 0]
        torch.testing.assert_close(
            got, torch.tensor(truth[name], dtype=torch.float64), rtol=tolerance, atol=0
        )


def test_magnitudes_far_below_float32_equal_float64s() -> None:
    inputs, labels = batch()
    model = network(depth=60, gain=0.05)
    truth = plain_autograd(model, inputs, labels)["delta_rms"]
    assert truth[0] < 1e-60  # float32 ends at 1e-45
    measured = measure(model, lambda: F.cross_entropy(model(inputs), labels))
    log2 = quantity(measured, "delta_rms")[:, 0].log2() + quantity(measured, "delta_exponent")[:, 0]
    expected = torch.tensor(truth, dtype=torch.float64).log2()
    # 60 layers of float32 rounding, 2⁻²⁴ each, in log₂ of numbers near −200.
    torch.testing.assert_close(log2, expected, rtol=0, atol=1e-4)


def test_normalizing_is_exact() -> None:
    gradient = torch.randn(3, 5, 7) * torch.tensor([1e-30, 1.0, 1e30]).view(3, 1, 1)
    scaled, exponent = normalized(gradient)
    assert ((scaled.abs().amax((1, 2)) >= 0.5) & (scaled.abs().amax((1, 2)) < 1)).all()
    back = scaled.double() * 2.0 ** exponent.view(3, 1, 1)
    assert torch.equal(back, gradient.double())


@pytest.mark.parametrize(("power", "kept"), [(24, True), (-24, True), (25, False), (-25, False)])
def test_gradients_of_replicas_keep_their_scale_while_all_are_near_1(
    power: int, kept: bool
) -> None:
    gradient = torch.tensor([[0.5, 0.25], [2.0 ** (power - 1), 0.0], [0.0, 0.0]])
    scaled, exponent = normalized(gradient, lazy=True)
    assert (scaled is gradient) is kept
    assert exponent.tolist() == ([0, 0, 0] if kept else [0, power, 0])
    assert torch.equal(scaled.double() * 2.0 ** exponent.view(3, 1), gradient.double())


def test_normalizing_leaves_zero_and_non_finite_alone() -> None:
    gradient = torch.tensor([[0.0, 0.0], [torch.inf, 1.0], [torch.nan, 1.0]])
    scaled, exponent = normalized(gradient)
    assert exponent.tolist() == [0, 0, 0]
    assert torch.equal(scaled, gradient) or torch.isnan(scaled[2, 0])


def test_activation_statistics_are_what_the_words_say() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].bias[:2] = -1e3  # two units that never fire
        model[0].bias[2:] = 1e3  # three that always do
    inputs, labels = torch.randn(8, 4), torch.zeros(8, dtype=torch.long)
    measured = measure(model, lambda: F.cross_entropy(model(inputs), labels))
    output = model[:2](inputs).double()
    assert quantity(measured, "dead_fraction")[0].item() == pytest.approx(0.4)
    assert quantity(measured, "zero_fraction")[0].item() == pytest.approx(0.4)
    assert quantity(measured, "activation_mean")[0].item() == pytest.approx(output.mean().item())
    assert measured.measured[1].isdisjoint({"dead_fraction", "activation_mean"})  # logits


def test_a_sparse_unit_is_not_a_dead_one() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[0].bias.zero_()
    inputs = torch.tensor([[-1.0], [-2.0], [3.0]])
    measured = measure(model, lambda: model(inputs).sum())
    assert quantity(measured, "zero_fraction")[0].item() == pytest.approx(2 / 3)
    assert quantity(measured, "dead_fraction")[0].item() == 0


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ELU(inplace=True)])
def test_in_place_activations_change_nothing(activation: nn.Module) -> None:
    inputs, labels = batch()
    torch.manual_seed(3)
    in_place = nn.Sequential(nn.Linear(20, 20), activation, nn.Linear(20, 10))
    outside = copy.deepcopy(in_place)
    outside[1] = type(activation)()
    one, other = (
        measure(m, lambda m=m: F.cross_entropy(m(inputs), labels)) for m in (in_place, outside)
    )
    # In place, ELU's backward starts from the result and rounds otherwise: a few float32 ulps.
    torch.testing.assert_close(one.values, other.values, rtol=1e-6, atol=0, equal_nan=True)


def test_the_model_is_left_as_it_was() -> None:
    inputs, labels = batch()
    model = network()
    calls: list[str] = []
    model[0].register_forward_hook(lambda *_: calls.append("mine"))
    F.cross_entropy(model(inputs), labels).backward()
    before = {n: (p.detach().clone(), p.grad.clone()) for n, p in model.named_parameters()}
    measure(model, lambda: F.cross_entropy(model(inputs), labels))
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name][0])
        assert torch.equal(p.grad, before[name][1])
    assert calls == ["mine", "mine"]
    assert [len(m._forward_hooks) for m in model.modules()].count(0) == len(
        list(model.modules())
    ) - 1
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_hooks_go_even_when_the_model_raises() -> None:
    model = network()

    def fails() -> Tensor:
        model(torch.randn(3, 20))
        raise RuntimeError("the loss is wrong")

    with pytest.raises(RuntimeError, match="the loss is wrong"):
        measure(model, fails)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_a_frozen_layer_has_no_gradient_but_passes_one_on() -> None:
    inputs, labels = batch()
    model = network(depth=3)
    for p in model[2].parameters():
        p.requires_grad_(False)
    measured = measure(model, lambda: F.cross_entropy(model(inputs), labels))
    assert "gradient_norm" not in measured.measured[1]
    assert "gradient_norm" in measured.measured[0]
    assert "delta_rms" in measured.measured[1]


def test_a_module_called_twice_has_one_record_over_both_calls() -> None:
    shared = nn.Linear(6, 6)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.act, self.head = shared, nn.Tanh(), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.shared(self.act(self.shared(x)))))

    model, inputs = Twice(), torch.randn(4, 6)
    measured = measure(model, lambda: model(inputs).sum())
    assert (measured.names, measured.calls) == (["shared", "head"], [2, 1])
    first = shared(inputs)
    second = shared(torch.tanh(first))
    outputs = torch.tanh(torch.stack([first, second])).detach()
    for z in (first, second):
        z.retain_grad()
    model.head(torch.tanh(second)).sum().backward()
    deltas = torch.stack([z.grad for z in (first, second) if z.grad is not None])
    assert quantity(measured, "delta_rms")[0] == pytest.approx(float(deltas.square().mean().sqrt()))
    mean, variance = float(outputs.mean()), float(outputs.var(correction=0))
    assert quantity(measured, "activation_mean")[0] == pytest.approx(mean, rel=1e-5)
    assert quantity(measured, "activation_variance")[0] == pytest.approx(variance, rel=1e-5)


def test_the_pass_waits_for_nothing_on_the_device() -> None:
    """On meta a tensor left on the CPU raises, and so does every .item()."""
    model = network().to("meta")
    inputs = torch.empty(32, 20, device="meta")
    labels = torch.empty(32, dtype=torch.long, device="meta")
    measured = measure(model, lambda: F.cross_entropy(model(inputs), labels))
    assert measured.values.device.type == "meta"
    assert measured.values.shape == (7, len(QUANTITIES), 1)


@pytest.mark.cuda
@NEEDS_CUDA
def test_cuda_gives_the_cpus_magnitudes() -> None:
    inputs, labels = batch()
    model = network()
    here = measure(model, lambda: F.cross_entropy(model(inputs), labels)).values
    model, inputs, labels = model.cuda(), inputs.cuda(), labels.cuda()
    there = measure(model, lambda: F.cross_entropy(model(inputs), labels)).values.cpu()
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-7, equal_nan=True)


def test_a_recorder_lists_its_layers_in_the_order_of_the_forward_pass() -> None:
    model = network(depth=2)
    recorder = Recorder(model)
    with recorder.attached():
        model(torch.randn(2, 20))
    assert [r.name for r in recorder.records] == ["0", "2", "4"]
    assert [r.index for r in recorder.records] == [1, 2, 3]


def test_memory_of_parameters_can_be_resized_afterwards() -> None:
    """As FSDP does. NumPy's view of it would forbid that."""
    model = network(depth=2, width=20)
    inputs, labels = batch()
    measure(model, lambda: F.cross_entropy(model(inputs), labels))
    assert all(p.untyped_storage().resizable() for p in (*model.parameters(), inputs))
