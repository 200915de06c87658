"""The one fast training loop.

What makes it fast: the whole data set is one tensor on the device, indexed by a permutation;
nothing is read back before the end of an epoch; gradients are clipped and applied by fused
kernels. The rest is the network's layout (`gradflow.benchmarking.networks.convnet`) and its layers
(`gradflow.benchmarking.networks.fast_layers`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.configs.choices import PRECISIONS
from gradflow.errors import GradflowError, unknown_name

Clip = Callable[[list[nn.Parameter]], object]
Loss = Callable[[Tensor, Tensor], Tensor]
#: Called with (step, steps, mean loss, accuracy, images per second), all of the epoch so far.
OnStep = Callable[[int, int, float, float, float], None]

_REPORT_EVERY = 10  # steps, on a CPU, where reading a number costs nothing


@dataclass(frozen=True)
class Examples:
    """Images (N, C, H, W), uint8 from 0 to 255, and labels (N,), int64, where they are used."""

    images: Tensor
    labels: Tensor

    @staticmethod
    def upload(
        images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], device: torch.device
    ) -> Examples:
        """Return images (N, H, W) and labels on `device`, in one copy."""
        tensors = [torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long()]
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return Examples(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return images, channels last and divided by 255, and labels."""
        images = self.images[index].to(torch.float32, memory_format=torch.channels_last)
        return images.div_(255), self.labels[index]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set: means over its examples, or over its steps.

    Attributes
    ----------
    loss, accuracy
        Of each batch before its update, with dropout.
    gradient_norm
        L2 norm of the whole gradient before clipping, mean over steps.
    seconds
        Wall-clock time of the training alone.
    """

    loss: float
    accuracy: float
    gradient_norm: float
    seconds: float


class Observer(Protocol):
    """Sees every step's gradients before they are clipped, and the parameters after the update."""

    def before_update(self) -> None: ...  # noqa: D102

    def after_update(self) -> None: ...  # noqa: D102


class Trainer:
    """A model with its optimiser, and how its gradients are clipped.

    Parameters
    ----------
    model
        On the device of the examples; takes images, gives logits.
    clip
        Changes the ``.grad`` of the parameters in place.
    precision
        A key of `PRECISIONS`; see `arithmetic`.
    loss
        (logits, labels) -> what is minimised.

    Attributes
    ----------
    observer
        Told of every step, if there is one.
    """

    observer: Observer | None = None

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip: Clip | None = None,
        precision: str = "fp32",
        loss: Loss = F.cross_entropy,
    ) -> None:
        self.model, self.optimizer, self.clip, self.precision = model, optimizer, clip, precision
        self.loss = loss
        self.parameters = [p for p in model.parameters() if p.requires_grad]

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one step; return (summed loss, correct, gradient norm) without waiting for it."""
        with autocast(self.precision, images.device):
            logits = self.model(images)
        loss = self.loss(logits.to(self.parameters[0].dtype), labels)
        torch.autograd.backward(loss)
        norm = gradient_norm(self.parameters)
        if self.observer is not None:
            self.observer.before_update()
        if self.clip is not None:
            self.clip(self.parameters)
        self.optimizer.step()
        if self.observer is not None:
            self.observer.after_update()
        self.optimizer.zero_grad()
        correct = (logits.detach().argmax(1) == labels).sum()
        return torch.stack([loss.detach() * len(labels), correct, norm])

    def epoch(
        self,
        data: Examples,
        batch_size: int,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Epoch:
        """Train on every example once, in an order drawn from `generator` (of the device)."""
        self.model.train()
        device = data.images.device
        shuffled = torch.randperm(len(data), generator=generator, device=device)
        order = torch.split(shuffled, batch_size)
        totals = torch.zeros(3, device=device)
        every = _REPORT_EVERY if device.type == "cpu" else len(order)
        seen, start = 0, time.perf_counter()
        for number, index in enumerate(order, start=1):
            totals += self.step(*data.take(index))
            seen += len(index)
            if on_step is not None and (number % every == 0 or number == len(order)):
                loss, correct, _ = (totals / seen).tolist()
                rate = seen / (time.perf_counter() - start)
                on_step(number, len(order), loss, correct, rate)
        loss, correct, norm = totals.tolist()
        seconds = time.perf_counter() - start
        return Epoch(loss / seen, correct / seen, norm / len(order), seconds)


def evaluate(model: nn.Module, data: Examples, precision: str = "fp32") -> tuple[float, float]:
    """Return mean loss and accuracy of `model` on `data`, without dropout."""
    device = data.images.device
    batch_size = 128 if device.type == "cpu" else 2000  # what fits the cache, what fills a GPU
    totals = torch.zeros(2, device=device)
    model.eval()
    with torch.inference_mode(), autocast(precision, device):
        for start in range(0, len(data), batch_size):
            images, labels = data.take(slice(start, start + batch_size))
            logits = model(images).float()
            loss = F.cross_entropy(logits, labels, reduction="sum")
            totals += torch.stack([loss, (logits.argmax(1) == labels).sum()])
    loss_sum, correct = totals.tolist()
    return loss_sum / len(data), correct / len(data)


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    """Return the L2 norm of all gradients together, on their device."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which ``bf16`` computes products; nothing for other precisions."""
    if precision != "bf16":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse an unknown precision, and TF32 where there is none.

    Raises
    ------
    GradflowError
        With what to use instead.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if precision == "tf32" and device.type != "cuda":
        raise GradflowError(f"tf32 needs a CUDA device, this is {device}", "use --precision fp32")


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Within the block, CUDA multiplies fp32 in full unless TF32 is asked for, and repeatably.

    cuDNN's convolutions would otherwise take TF32 by themselves, and algorithms that add in
    another order every time.
    """
    check_precision(precision, device)
    flags = [
        (torch.backends.cuda.matmul, "allow_tf32", precision == "tf32"),
        (torch.backends.cudnn, "allow_tf32", precision == "tf32"),
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "benchmark", False),
    ]
    before = [getattr(owner, name) for owner, name, _ in flags]
    try:
        for owner, name, value in flags:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(flags, before, strict=True):
            setattr(owner, name, value)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch within the block, give a generator of the device, and restore its state."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield torch.Generator(device).manual_seed(seed)
