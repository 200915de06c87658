"""Gradients by plain autograd, beside the rows of a diagnosis."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from public_models.case import Case, plain_loss, seeded

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Agreement:
    """How the rows of a diagnosis compare with plain autograd.

    Attributes
    ----------
    rows
        That were compared.
    worst
        The largest relative error of a row's gradient norm.
    wrong
        Rows beyond the tolerance, or that belong to no parameter, in words.
    covered
        Share of the trained entries that belong to a row.
    missing
        Names of trained parameters that belong to none, the first of them.
    """

    rows: int
    worst: float
    wrong: list[str]
    covered: float
    missing: list[str]


class Norms:
    """Squared gradient norms of every parameter, in the model's dtype and (if asked) float64."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.parameters = dict(case.model.named_parameters(remove_duplicate=False))
        self.modules = dict(case.model.named_modules(remove_duplicate=False))
        self.named = {*self.modules, *self.parameters}
        self.trained = {n: p for n, p in case.model.named_parameters() if p.requires_grad}
        self.squares = [_squares(case)]

    def widen(self) -> bool:
        """Take the gradients again in float64; return whether the model can be run there."""
        if len(self.squares) == 1:
            try:
                self.squares.append(_squares(_wide(self.case)))
            except Exception:  # a foreign model may insist on its own dtype
                self.squares.append({})
        return bool(self.squares[1])

    def of(self, names: tuple[str, ...], which: int = 0) -> float | None:
        """Return the gradient norm of parameters together; None where none has a gradient."""
        squares = self.squares[which]
        once = {id(self.parameters[n]): n for n in names}.values()
        known = [squares[n] for n in once if squares.get(n) is not None]
        return math.sqrt(sum(known)) if known else None


def _squares(case: Case) -> dict[str, float | None]:
    """As a training loop takes them: reversible blocks write gradients where none is asked for."""
    seeded(1)
    case.model.zero_grad()
    plain_loss(case).backward()
    named = case.model.named_parameters(remove_duplicate=False)
    return {n: _square(p.grad) for n, p in named if p.requires_grad}


def _square(gradient: Tensor | None) -> float | None:
    if gradient is None:
        return None
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    return (
        float(torch.view_as_real(dense).double().square().sum())
        if dense.is_complex()
        else float(dense.double().square().sum())
    )


def _wide(case: Case) -> Case:
    def wide(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.double()
        if isinstance(value, tuple | list):
            return type(value)(map(wide, value))
        return {k: wide(v) for k, v in value.items()} if type(value) is dict else value

    model = copy.deepcopy(case.model).double()
    return Case(model, wide(case.inputs), wide(case.targets), case.loss)


def agreement(rows: list[Any], norms: Norms) -> Agreement:
    """Compare every row's norms with those of the parameters that it is made of."""
    covered: set[int] = set()
    wrong, worst = [], 0.0
    for row in sorted(rows, key=lambda row: row.name not in norms.named):  # sums at the end
        for field, size in (("gradient_norm", _size(row)), ("bias_gradient_norm", None)):
            value = getattr(row, field)
            if field == "bias_gradient_norm" and value is None and row.gradient_norm is not None:
                continue
            sets = list(_narrowed(_candidates(norms, row, field), norms, covered))
            names, error = _fitting(sets, value, size, norms)
            covered |= {id(norms.parameters[n]) for n in names}
            if error > TOLERANCE:
                wrong.append(f"{row.name} {field} {value}: {error:.1e}")
            worst = max(worst, error)
    missing = [n for n, p in norms.trained.items() if id(p) not in covered]
    total = sum(p.numel() for p in norms.trained.values())
    left = sum(norms.trained[n].numel() for n in missing)
    return Agreement(len(rows), worst, wrong, 1 - left / max(total, 1), missing[:8])


def _size(row: Any) -> int | None:
    """Entries that the row says its gradient has: norm and rms tell."""
    if not row.gradient_norm or not row.gradient_rms or not math.isfinite(row.gradient_norm):
        return None
    return round((row.gradient_norm / row.gradient_rms) ** 2)


def _candidates(norms: Norms, row: Any, field: str) -> Iterator[tuple[str, ...]]:
    """Sets of parameters that a row of this name may be about, narrow ones first."""
    named = norms.parameters
    if row.name in named:
        yield (row.name,)
    yield from _distinct(iter([_attribute(norms, row.name, field)]))
    below = {n: p for n, p in named.items() if n.startswith(f"{row.name}.") or not row.name}
    own = {n: p for n, p in below.items() if "." not in n[len(row.name) :].strip(".")}
    if field == "bias_gradient_norm":
        yield from _distinct(_biases(own, below))
        return
    yield from _distinct(_weights(own, below))
    if _size(row) is not None or row.name == f"all {row.kind}":  # of a norm of 0 no size is told
        yield from _distinct(_of_kind(norms.case.model, row.kind, named))


def _narrowed(
    sets: Iterator[tuple[str, ...]], norms: Norms, covered: set[int]
) -> Iterator[tuple[str, ...]]:
    """The sets, then what of them has a gradient, then what of that has no other row yet."""
    whole = list(sets)
    yield from whole
    reached = [tuple(n for n in names if norms.of((n,)) is not None) for names in whole]
    yield from _distinct(iter(reached))
    left = [tuple(n for n in s if id(norms.parameters[n]) not in covered) for s in reached]
    yield from _distinct(iter(left))


def _attribute(norms: Norms, name: str, field: str) -> tuple[str, ...]:
    """The parameter that a module calls its weight or bias, wherever that is kept."""
    module = norms.modules.get(name)
    value = getattr(module, "bias" if field == "bias_gradient_norm" else "weight", None)
    return tuple(n for n, p in norms.trained.items() if p is value)


def _weights(own: dict[str, Any], below: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield tuple(n for n in own if n.rsplit(".", 1)[-1] == "weight")
    yield tuple(n for n, p in own.items() if p.dim() >= 2)
    parametrized = {n: p for n, p in below.items() if ".parametrizations." in f".{n}"}
    yield tuple(n for n, p in parametrized.items() if p.dim() >= 2)
    yield tuple(parametrized)
    attention = {n: p for n, p in below.items() if n in own or n.endswith("out_proj.weight")}
    yield tuple(n for n, p in attention.items() if p.dim() >= 2)
    yield tuple(n for n in own if "bias" not in n.rsplit(".", 1)[-1])
    yield tuple(own)
    yield tuple(n for n, p in below.items() if p.dim() >= 2)
    yield tuple(below)


def _biases(own: dict[str, Any], below: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield tuple(n for n in own if n.rsplit(".", 1)[-1] == "bias")
    yield tuple(n for n, p in own.items() if "bias" in n.rsplit(".", 1)[-1] and p.dim() == 1)
    yield tuple(n for n, p in own.items() if p.dim() == 1)
    yield tuple(
        n
        for n, p in below.items()
        if ((n in own and "bias" in n) or n.endswith("out_proj.bias")) and p.dim() == 1
    )
    yield tuple(n for n, p in below.items() if p.dim() == 1)


def _of_kind(model: nn.Module, kind: str, named: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """All parameters of modules of a class: small ones may share a row of their kind."""
    owners = {n for n, m in model.named_modules(remove_duplicate=False) if type(m).__name__ == kind}
    yield tuple(n for n in named if n.rpartition(".")[0] in owners)


def _distinct(sets: Iterator[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    return (names for names in dict.fromkeys(sets) if names)


def _fitting(
    sets: list[tuple[str, ...]], value: float | None, size: int | None, norms: Norms
) -> tuple[tuple[str, ...], float]:
    """Return the set whose gradient the row shows, and the relative error that is left."""
    if value is None:  # frozen, unreached, or a wrapper around the layer that has the weight
        names = next((names for names in sets if norms.of(names) is None), ())
        return names, 0.0
    best: tuple[tuple[str, ...], float] = ((), math.inf)
    sized = [s for s in sets if size is None or _unique_entries(norms, s) == size]
    for which in (0, 1):
        if which == 1 and not (sized and norms.widen()):
            break
        errors = {names: _error(value, norms.of(names, which)) for names in sized}
        fits = [names for names, error in errors.items() if error <= TOLERANCE]
        if fits:  # the widest: entries without any gradient leave no trace in a norm
            names = max(fits, key=lambda s: _unique_entries(norms, s))
            return names, errors[names]
        best = min([best, *errors.items()], key=lambda pair: pair[1])
    return best


def _unique_entries(norms: Norms, names: tuple[str, ...]) -> int:
    return sum({id(p): p.numel() for p in map(norms.parameters.__getitem__, names)}.values())


def _error(value: float, true: float | None) -> float:
    if true is None:
        return math.inf
    if not math.isfinite(value) or not math.isfinite(true):
        return 0.0 if str(value) == str(true) else math.inf
    return abs(value - true) / max(abs(true), 1e-300) if value != true else 0.0
