"""Hooks and modes come off whatever ends the pass; gradients are those that autograd has there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from gradflow.measurement.half_precision import gradient_entries
from gradflow.measurement.hooks import Hooks, leave, on_gradient
from gradflow.measurement.recorder import measure


class _Stopping(nn.Module):
    """Calls functions itself, and is stopped inside its forward pass."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.fc, self.act, self.error = nn.Linear(3, 3), nn.ReLU(), error

    def forward(self, x: Tensor) -> Tensor:
        self.act(torch.tanh(self.fc(x)))
        raise self.error


class _Recursive(nn.Module):
    """Calls itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor, depth: int = 2) -> Tensor:
        x = torch.tanh(self.fc(x))
        deeper: Tensor = self(x, depth - 1) if depth else x
        return deeper


def _hooks(model: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(m, t)) for m in model.modules() for t in tables)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize(
    "run",
    [
        lambda m, x: measure(m, lambda: m(x).sum()),
        lambda m, x: gradient_entries(m, lambda network: network(x).sum(), replicated=False),
    ],
    ids=["recorder", "half precision"],
)
def test_hooks_and_modes_come_off_when_forward_is_stopped(
    error: type[BaseException], run: Callable[[nn.Module, Tensor], object]
) -> None:
    model = _Stopping(error)
    with pytest.raises(error):
        run(model, torch.ones(2, 3))
    assert _hooks(model) == 0
    assert not _get_current_function_mode_stack()


def test_a_module_that_calls_itself_is_measured_over_all_calls() -> None:
    model = _Recursive()
    measured = measure(model, lambda: model(torch.ones(2, 3)).sum())
    assert (measured.names, measured.calls) == (["fc"], [3])
    assert _hooks(model) == 0


def test_hooks_come_off_when_attaching_fails_half_way() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    def attach() -> None:
        with Hooks() as hooks:
            hooks.after_layer_calls(model, lambda *_: None)
            hooks.after_forward(None, lambda *_: None)  # type: ignore[arg-type]

    with pytest.raises(AttributeError):
        attach()
    assert _hooks(model) == 0


@pytest.mark.parametrize("in_place", [False, True])
def test_a_gradient_is_that_of_the_tensor_as_it_was(in_place: bool) -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    seen: list[Tensor] = []
    y = 3 * x
    on_gradient(y, lambda g: seen.append(g.clone()))
    (y.relu_() if in_place else y.relu()).sum().backward()
    assert torch.equal(seen[0], torch.tensor([0.0, 1.0]))


def test_what_a_gradient_hook_returns_takes_the_gradients_place() -> None:
    x = torch.ones(4, requires_grad=True)
    first, second = (2 * x).split(2)  # two outputs of one node
    on_gradient(second, lambda g: 10 * g)
    (first.sum() + second.sum()).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 20, 20]


class _Mode(TorchFunctionMode):
    def __torch_function__(self, function, _, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        return function(*arguments, **(keywords or {}))


def test_a_mode_leaves_from_the_middle_of_the_stack() -> None:
    mine, above = _Mode(), _Mode()
    with mine, above:
        leave(mine)
        assert _get_current_function_mode_stack() == [above]
        leave(mine)  # a second time does nothing
        assert _get_current_function_mode_stack() == [above]
        with mine:  # for its own exit to take off
            pass
        torch.overrides._push_mode(mine)  # type: ignore[no-untyped-call]
    assert not _get_current_function_mode_stack()
