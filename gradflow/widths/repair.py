"""What keeps training the same at every width: multipliers of weights and rates.

Yang et al., Tensor Programs V (2022), table 3, relative to the smallest width: the network of that
width is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from gradflow.results.width import ParameterRow
from gradflow.widths.parameters import Growth

#: Whose step has the size of its rate, whatever the gradient's; and whose is the gradient's.
ADAPTIVE = frozenset(
    "adam adamw adamax nadam radam rmsprop adagrad adadelta rprop".split()  # noqa: SIM905
)
DESCENT = frozenset(("sgd", "asgd"))


def known(optimizer: str) -> bool:
    """Return whether it is published how the rates of this optimizer go with the width."""
    return optimizer in ADAPTIVE | DESCENT


def parameter_rows(
    growths: Iterable[Growth], optimizer: str, ratio: float
) -> tuple[ParameterRow, ...]:
    """Return every parameter's multipliers; `ratio` is of the largest width to the smallest."""
    rows = []
    for growth in growths:
        initial = 0.0 if growth.initial is None else _start(growth) - growth.initial
        rate = _rate(growth, optimizer)
        row = ParameterRow(
            growth.name, growth.role, initial + 0.0, rate + 0.0, ratio**initial, ratio**rate
        )
        rows.append(row)
    return tuple(rows)


def _start(growth: Growth) -> float:
    """The power of the width with which weights have to go: 1/√fan-in, 1/fan-in at the output."""
    share = {"hidden": 0.5, "output": 1.0}.get(growth.role, 0.0)
    return -share * growth.inputs


def _rate(growth: Growth, optimizer: str) -> float:
    """The power with which the rate has to go: of Adam 1/fan-in, of SGD fan-out/fan-in."""
    if optimizer in DESCENT:
        return growth.outputs - growth.inputs
    return -growth.inputs


def lines(rows: Sequence[ParameterRow], readouts: Sequence[str], base: int, optimizer: str) -> str:
    """Return a function in torch that gives a model and its optimizer these multipliers."""
    initial = {row.name: row.initial_power for row in rows if row.initial_power}
    rate = {row.name: row.rate_power for row in rows if row.rate_power}
    return "\n".join(
        [
            "import torch",
            "",
            *_table("WEIGHTS", initial),
            *_table("RATES", rate),
            "",
            "",
            "def repair(model, optimizer, width):",
            '    """Call it on a new model of this width, before its first step."""',
            f"    m = width / {base}",
            "    names = {p: name for name, p in model.named_parameters()}",
            "    with torch.no_grad():",
            "        for p, name in names.items():",
            "            p.mul_(m ** WEIGHTS.get(name, 0.0))",
            *_divided(readouts),
            "    groups = []",
            "    for group in optimizer.param_groups:",
            "        alike = {}",
            '        for p in group["params"]:',
            "            scale = m ** RATES.get(names.get(p), 0.0)",
            "            alike.setdefault(scale, []).append(p)",
            "        for scale, params in alike.items():",
            '            own = {**group, "params": params, "lr": group["lr"] * scale}',
            *(_DECAY if optimizer == "adamw" else ()),
            "            groups.append(own)",
            "    optimizer.param_groups[:] = groups",
            "",
        ]
    )


#: AdamW's decay is rate × decay: that product is to stay.
_DECAY = ('            own["weight_decay"] = group["weight_decay"] / scale',)


def _table(name: str, powers: dict[str, float]) -> list[str]:
    if not powers:
        return [f"{name} = {{}}"]
    return [f"{name} = {{", *(f'    "{own}": {power!r},' for own, power in powers.items()), "}"]


def _divided(readouts: Sequence[str]) -> list[str]:
    """Of an output whose weight is an embedding's: its inputs are divided."""
    return [
        f'    model.get_submodule("{name}").register_forward_pre_hook('
        "lambda module, inputs: (inputs[0] / m,))"
        for name in readouts
    ]


def apply(source: str, model: nn.Module, optimizer: Optimizer, width: int) -> None:
    """Run the lines, and what they define, on a network and its optimizer."""
    names: dict[str, object] = {"torch": torch}
    exec(compile(source, "<repair>", "exec"), names)
    repair = names["repair"]
    assert callable(repair)
    repair(model, optimizer, width)
