"""What a public model is measured on, and the parts that its builders share."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils import _pytree as pytree

Loss = Callable[..., Tensor]
#: From a tensor and a number to the tensor of so many times the examples.
Grow = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Case:
    """A model with what `gradflow.diagnose` is called with.

    Attributes
    ----------
    model
        As its package makes it, in training mode.
    inputs
        A tensor, a tuple of arguments, or a dictionary of keyword arguments.
    targets
        The second argument of `loss`; None: it has none.
    loss
        None: cross-entropy with targets; without them, the output's own ``loss``.
    grow
        How inputs and targets become more; None: those as long as the first input are repeated.
    """

    model: nn.Module
    inputs: Any
    targets: Any = None
    loss: Loss | None = None
    grow: Grow | None = None


Builder = Callable[[], Case]


def built(builder: Builder, seed: int = 0) -> Case:
    """Return the same case for the same seed, with a model in training mode."""
    seeded(seed)
    case = builder()
    case.model.train()
    return case


def seeded(seed: int) -> None:
    """Set every random state that a model may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def enlarged(case: Case, times: int) -> Case:
    """Return the case with its examples so many times over."""
    inputs = dict(case.inputs) if hasattr(case.inputs, "keys") else case.inputs
    grow = case.grow or _repeating(inputs)
    parts = pytree.tree_map_only(Tensor, lambda t: grow(t, times), (inputs, case.targets))
    return replace(case, inputs=parts[0], targets=parts[1])


def _repeating(inputs: Any) -> Grow:
    leaves = pytree.tree_leaves(inputs)
    count = next(len(t) for t in leaves if isinstance(t, Tensor) and t.dim())

    def grow(tensor: Tensor, times: int) -> Tensor:
        return repeated(tensor, times) if tensor.dim() and len(tensor) == count else tensor

    return grow


def repeated(tensor: Tensor, times: int) -> Tensor:
    """Return a tensor so many times over, along its first axis."""
    return tensor.repeat(times, *[1] * (tensor.dim() - 1))


def load(module: str, name: str) -> Any:
    """Return what `module` calls `name`; packages are imported where a model of theirs is built."""
    return getattr(importlib.import_module(module), name)


def images(batch: int = 4, channels: int = 3, size: int = 64, dims: int = 2) -> Tensor:
    """Return standard normal images, or volumes."""
    return torch.randn(batch, channels, *[size] * dims)


def tokens(batch: int = 4, length: int = 32, vocabulary: int = 200) -> Tensor:
    """Return random token numbers; the first five, which packages use as marks, do not occur."""
    return torch.randint(5, vocabulary, (batch, length))


def labels(batch: int = 4, classes: int = 10) -> Tensor:
    """Return random class labels."""
    return torch.randint(classes, (batch,))


def classifier(model: nn.Module, batch: int = 4, classes: int = 10, **image: int) -> Case:
    """Return a classifier of images with labels."""
    return Case(model, images(batch, **image), labels(batch, classes), first_cross_entropy)


def dense(model: nn.Module, inputs: Any, classes: int, shape: tuple[int, ...]) -> Case:
    """Return a model that classifies every pixel, voxel or token of `shape`."""
    return Case(model, inputs, torch.randint(classes, shape), first_cross_entropy)


def language(model: nn.Module, batch: int = 4, length: int = 32, vocabulary: int = 200) -> Case:
    """Return a model whose logits, (batch, length, vocabulary), predict tokens."""
    ids = tokens(batch, length, vocabulary)
    return Case(model, ids, ids.roll(-1, 1), token_cross_entropy)


def regression(model: nn.Module, inputs: Any) -> Case:
    """Return a model whose output is to become noise: any tensor has a loss that way."""
    return Case(model, inputs, None, to_noise)


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor of real numbers in `output`.

    Raises
    ------
    TypeError
        If there is none.
    """
    found = _first(output)
    if found is None:
        raise TypeError(f"no tensor in a {type(output).__name__}")
    return found


def _first(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output if output.is_floating_point() else None
    if isinstance(output, dict):
        output = tuple(output.values())
    elif not isinstance(output, tuple | list):
        output = tuple(vars(output).values()) if hasattr(output, "__dict__") else ()
    return next((t for t in map(_first, output) if t is not None), None)


def first_cross_entropy(output: Any, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the first tensor of the output."""
    return F.cross_entropy(first_tensor(output), targets)


def token_cross_entropy(output: Any, targets: Tensor) -> Tensor:
    """Return the cross-entropy of logits whose last axis is the vocabulary."""
    return F.cross_entropy(first_tensor(output).flatten(0, -2), targets.flatten())


def to_noise(output: Any) -> Tensor:
    """Return the mean square distance to fixed standard normal noise."""
    values = first_tensor(output)
    generator = torch.Generator().manual_seed(1)
    return F.mse_loss(values, torch.randn(values.shape, generator=generator).to(values))


def plain_loss(case: Case) -> Tensor:
    """Return the loss of a plain forward pass, as a training loop takes it."""
    inputs = case.inputs
    if isinstance(inputs, dict):
        output = case.model(**inputs)
    else:
        output = case.model(*inputs) if isinstance(inputs, tuple | list) else case.model(inputs)
    if case.loss is not None:
        return case.loss(output) if case.targets is None else case.loss(output, case.targets)
    if isinstance(output, Tensor):
        return output
    loss: Tensor = output["loss"] if isinstance(output, dict) else output.loss
    return loss
