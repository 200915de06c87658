"""Remedies of what goes in and comes out: inputs, targets, the activation behind the output."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.diagnosis.objective import called, copied, listed
from gradflow.diagnosis.remedies.anatomy import Anatomy
from gradflow.diagnosis.remedies.code import replaced
from gradflow.measurement.preserving import random_states_kept
from gradflow.results.facts import CriterionFacts

#: Of inputs and targets that are left as they are: |mean|, and the standard deviation's ends.
_MEAN, _LEAST, _MOST = 0.5, 0.3, 3.0
#: So many features get a mean and a deviation each; images and the like share one.
_FEATURES = 64


def _numbers(values: Tensor, where: Tensor) -> str:
    """A number, or a tensor of several, as they are written."""
    rounded = [float(f"{v:.4g}") for v in values.flatten().tolist()]
    if len(rounded) == 1:
        return f"{rounded[0]:g}"
    device = "" if where.device.type == "cpu" else f', device="{where.device}"'
    return f"torch.tensor({rounded}{device})"


def _scales(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of a batch, by feature where they are few; None where they are usual."""
    x = x.detach().double().cpu()
    if x.dim() == 0 or len(x) < 2 or not bool(x.isfinite().all()):
        return None
    mean, std = x.mean(0), x.std(0, correction=0)
    usual = float(mean.abs().max()) <= _MEAN and _LEAST <= float(std.min()) <= float(std.max())
    if x.dim() != 2 or x.shape[1] > _FEATURES:
        mean, std = x.mean(), x.std(correction=0)
        usual = float(mean.abs()) <= _MEAN and float(std) >= _LEAST
    if usual and float(std.max()) <= _MOST:
        return None
    return mean, torch.where(std > 1e-6 * (1e-30 + mean.abs()), std, 1.0)


def inputs_standardised(a: Anatomy) -> str | None:
    """The first input with mean 0 and deviation 1, by constants of the batch."""
    first = next(iter(listed(a.objective.inputs)), None)
    if isinstance(a.objective.inputs, dict) or not isinstance(first, Tensor):
        return None
    scales = _scales(first) if first.is_floating_point() else None
    if scales is None:
        return None
    mean, std = (_numbers(value, first) for value in scales)
    return (
        "model.register_forward_pre_hook(\n"
        f"    lambda module, args, mean={mean}, std={std}: (\n"
        "        (args[0] - mean) / std, *args[1:]\n"
        "    )\n"
        ")"
    )


def targets_standardised(a: Anatomy) -> str | None:
    """The output in the targets' units: the network itself learns them with deviation 1."""
    targets = a.objective.targets
    if not isinstance(targets, Tensor) or not targets.is_floating_point() or a.ending:
        return None
    if len(torch.unique(targets)) <= 2 or any(c.kind.startswith("bce") for c in _criteria(a)):
        return None
    with random_states_kept(), torch.no_grad():
        output = called(a.model_copy(), copied(a.objective.inputs))
    if not isinstance(output, Tensor) or output.shape != targets.shape:
        return None
    mean, std = float(targets.double().mean()), float(targets.double().std(correction=0))
    if not math.isfinite(std) or std == 0 or (abs(mean) <= _MEAN and _LEAST <= std <= _MOST):
        return None
    scaled = f"{std:.4g} * output + {mean:.4g}"
    return f"model.register_forward_hook(lambda module, args, output: {scaled})"


def _criteria(a: Anatomy) -> tuple[CriterionFacts, ...]:
    batch = a.result.facts.batch
    return () if batch is None else batch.criteria


def no_output_activation(a: Anatomy) -> str | None:
    """The activation behind the last layer taken away; of a function, its inverse put behind."""
    if "output-activation" not in a.codes:
        return None
    names = [name for name, _ in a.ending if name is not None] or _softmaxes(a)
    if names:
        return "\n".join(replaced(a.model, names, "torch.nn.Identity()"))
    undo = {"softmax": "output.log()", "sigmoid": "output.logit(1e-6)"}
    last = next((c.last for c in _criteria(a) if c.last is not None), None)
    how = None if last is None else undo.get(last.kind)
    if how is None:
        return None
    return f"model.register_forward_hook(lambda module, args, output: {how})"


def _softmaxes(a: Anatomy) -> list[str]:
    """Softmax modules of one whole output."""
    kinds = (nn.Softmax, nn.LogSoftmax, nn.Softmax2d)
    outputs = a.shapes.get("", (None, None))[1]
    return [
        name
        for name, module in a.model.named_modules()
        if isinstance(module, kinds) and a.shapes.get(name, (None, None))[1] == outputs
    ]


def output_activation(a: Anatomy) -> str | None:
    """The activation that the loss wants, behind an output that has none."""
    if "output-activation" not in a.codes or a.ending:
        return None
    wanted = {
        "nll": "output.log_softmax(1)",
        "kl": "output.log_softmax(1)",
        "bce": "output.sigmoid()",
    }
    for criterion in _criteria(a):
        how = wanted.get(criterion.kind)
        if how is not None and criterion.last is None:
            return f"model.register_forward_hook(lambda module, args, output: {how})"
    return None


#: By criterion and the activation before it: torch's function of it, and what goes with the output.
_FITTING: dict[tuple[str, str | None], tuple[Callable[..., Tensor], str]] = {
    ("nll", None): (F.nll_loss, "torch.nn.CrossEntropyLoss()"),
    ("bce", None): (F.binary_cross_entropy, "torch.nn.BCEWithLogitsLoss()"),
    ("bce-with-logits", "sigmoid"): (F.binary_cross_entropy_with_logits, "torch.nn.BCELoss()"),
}


def fitting_loss(a: Anatomy) -> str | None:
    """The loss with its sign or its arguments turned, or another one, that fits the output."""
    criteria = _criteria(a)
    if "loss" in a.codes and a.objective.loss is not None:
        if all(c.sign == -1 for c in criteria):
            return "loss = lambda *args, given=loss: -given(*args)"
        if any(c.swapped for c in criteria):
            return "loss = lambda output, targets, given=loss: given(targets, output)"
    if "output-activation" not in a.codes or len(criteria) != 1:
        return None
    last = criteria[0].last
    known = _FITTING.get((criteria[0].kind, None if last is None else last.kind))
    return f"loss = {known[1]}" if known is not None and _is_plain(a, known[0]) else None


def _is_plain(a: Anatomy, criterion: Callable[..., Tensor]) -> bool:
    """Whether the loss is torch's function of output and targets, and nothing else."""
    model = a.model_copy()
    with random_states_kept(), torch.no_grad():
        output = called(model, copied(a.objective.inputs))
        given = a.objective.loss or F.cross_entropy
        return torch.equal(
            given(output, a.objective.targets), criterion(output, a.objective.targets)
        )
