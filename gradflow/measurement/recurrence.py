"""∂C/∂x at every time step of torch's own recurrent layers, and how far open their gates are.

`nn.RNN`, `nn.LSTM` and `nn.GRU` run all their steps in one call. What goes in is passed on through
a node of its own, so that its gradient is the layer's alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradflow.measurement import walks
from gradflow.measurement.hooks import Hooks, on_gradient
from gradflow.measurement.slopes import SATURATION
from gradflow.measurement.stats import accumulator

#: Examples whose gates are computed again.
_EXAMPLES = 16


@dataclass
class RecurrentCall:
    """One call of a recurrent layer.

    Attributes
    ----------
    name
        The layer's.
    delta_rms
        (steps,): root mean square of ∂C/∂x, over examples and features; None: no gradient came.
    saturated
        Share of the entries of each gate that are on a plateau, by the gate's name.
    """

    name: str
    delta_rms: Tensor | None = None
    saturated: dict[str, Tensor] | None = None


class RecurrentCalls:
    """Takes the calls of a model's recurrent layers.

    Attributes
    ----------
    leaves
        What stands for inputs that need no gradient otherwise, such as data.
    """

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []
        self.calls: list[RecurrentCall] = []
        self.closed = False  # a checkpointed model runs forward again in its backward pass

    def attach(self, model: nn.Module, hooks: Hooks) -> None:
        """Hook the model's recurrent layers."""
        for name, module in walks.named_parts(model):
            if isinstance(module, nn.RNNBase):
                before = self._before(name)
                hooks.add(nn.Module.register_forward_pre_hook(module, before))

    def _before(self, name: str) -> Any:
        def hook(module: nn.RNNBase, inputs: tuple[Any, ...]) -> Any:
            if self.closed or not inputs or not torch.is_grad_enabled():
                return None
            values = inputs[0].data if isinstance(inputs[0], PackedSequence) else inputs[0]
            if not isinstance(values, Tensor) or not values.is_floating_point():
                return None
            with torch._C.DisableTorchFunction():
                call = RecurrentCall(name, saturated=_gates(module, inputs[0]))
            self.calls.append(call)
            own = values.view_as(values)
            if not own.requires_grad:
                own = values.detach().requires_grad_()
                self.leaves.append(own)
            on_gradient(own, _steps_of(call, module, inputs[0]))
            return _with_values(inputs[0], own), *inputs[1:]

        return hook


def _steps_of(call: RecurrentCall, module: nn.RNNBase, inputs: Any) -> Any:
    def hook(gradient: Tensor) -> None:
        wide = gradient.detach().to(accumulator(gradient.device))
        if isinstance(inputs, PackedSequence):
            parts = torch.split(wide, inputs.batch_sizes.tolist())
            call.delta_rms = torch.stack([part.square().mean().sqrt() for part in parts])
            return
        axis = 1 if module.batch_first and wide.dim() == 3 else 0
        call.delta_rms = wide.movedim(axis, 0).flatten(1).square().mean(1).sqrt()

    return hook


def _with_values(inputs: Any, values: Tensor) -> Any:
    if not isinstance(inputs, PackedSequence):
        return values
    return PackedSequence(
        values, inputs.batch_sizes, inputs.sorted_indices, inputs.unsorted_indices
    )


@torch.no_grad()
def _gates(module: nn.RNNBase, inputs: Any) -> dict[str, Tensor] | None:
    """Share of the saturated entries of each gate in the first layer, over a few examples."""
    if module.mode not in ("LSTM", "GRU") or isinstance(inputs, PackedSequence):
        return None
    if getattr(module, "proj_size", 0) or inputs.dim() != 3:
        return None
    x = (inputs if module.batch_first else inputs.transpose(0, 1))[:_EXAMPLES].detach()
    found: dict[str, list[Tensor]] = {}
    for gates in _lstm(module, x) if module.mode == "LSTM" else _gru(module, x):
        for name, values in gates.items():
            found.setdefault(name, []).append(values)
    return {name: torch.stack(shares).mean() for name, shares in found.items()}


def _weights(module: nn.RNNBase) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    named = module._parameters
    w, u = named["weight_ih_l0"], named["weight_hh_l0"]
    assert isinstance(w, Tensor)
    assert isinstance(u, Tensor)
    zero = w.new_zeros(len(w))
    b, c = named.get("bias_ih_l0"), named.get("bias_hh_l0")
    return w, u, zero if b is None else b, zero if c is None else c


def _lstm(module: nn.RNNBase, x: Tensor) -> Iterator[dict[str, Tensor]]:
    w, u, b, c = _weights(module)
    h = cell = x.new_zeros(len(x), module.hidden_size)
    for driven in (x @ w.mT + b + c).unbind(1):
        i, f, g, o = (driven + h @ u.mT).chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell)
        yield {
            "input gate": _flat(torch.sigmoid(i)),
            "forget gate": (torch.sigmoid(f) < _CLOSED).to(x.dtype).mean(),
            "candidate": _flat((torch.tanh(g) + 1) / 2),
            "output gate": _flat(torch.sigmoid(o)),
        }


def _gru(module: nn.RNNBase, x: Tensor) -> Iterator[dict[str, Tensor]]:
    w, u, b, c = _weights(module)
    h = x.new_zeros(len(x), module.hidden_size)
    n = module.hidden_size
    for driven in (x @ w.mT + b).unbind(1):
        recurrent = h @ u.mT + c
        r, z = torch.sigmoid(driven[:, : 2 * n] + recurrent[:, : 2 * n]).chunk(2, -1)
        new = torch.tanh(driven[:, 2 * n :] + r * recurrent[:, 2 * n :])
        h = torch.lerp(new, h, z)
        yield {
            "reset gate": _flat(r),
            "update gate": (z < _CLOSED).to(x.dtype).mean(),
            "candidate": _flat((new + 1) / 2),
        }


#: A sigmoid whose slope is below `SATURATION` of its largest, ¼, near 0.
_CLOSED = (1 - (1 - SATURATION) ** 0.5) / 2


def _flat(gate: Tensor) -> Tensor:
    """Share of a gate's values whose slope is below 1 % of the sigmoid's largest."""
    return (gate * (1 - gate) < SATURATION / 4).to(gate.dtype).mean()
