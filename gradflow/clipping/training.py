"""Training under clipping policies: every policy and seed at once, as replicas of one module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gradflow.arrays import Floats
from gradflow.clipping.policies import Clipping, clip_gradients
from gradflow.clipping.replicas import Replicas, repeat
from gradflow.clipping.tasks import Problem
from gradflow.errors import GradflowError
from gradflow.training.optimizers import find, optimizer
from gradflow.training.trainer import Loss, Trainer

#: Optimisers whose update of an entry depends on other entries: replicas would not be independent.
_NOT_ELEMENTWISE = ("adafactor",)
#: Diverged: the loss ends above this many times where it began (or chance, where that is more).
_BLOWN_UP = 10.0


@dataclass
class TrainingCurves:
    """One policy's training, each array (steps, seeds); NaN where a seed has stopped.

    Attributes
    ----------
    norm_before, norm_after
        Of the whole gradient, before and after clipping.
    stopped
        For each seed the step (from 1) whose gradient or loss was not finite; 0: none.
    """

    clipping: Clipping
    loss: Floats
    norm_before: Floats
    norm_after: Floats
    stopped: npt.NDArray[np.int64]

    @property
    def final_loss(self) -> Floats:
        """Mean over the last tenth of the steps, per seed; ∞ where it stopped or is not finite."""
        last = self.loss[-max(1, len(self.loss) // 10) :]
        final = np.where(np.isfinite(last).all(0), last.mean(0), math.inf)
        return np.where(self.stopped > 0, math.inf, final)

    def diverged_at(self, chance: float) -> list[int | None]:
        """Return for every seed the step at which it diverged, or None.

        That is where it stopped; or, if its loss ends above ten times where it began (or chance),
        the step from which on it stayed there.
        """
        return [self._diverged(seed, chance) for seed in range(self.loss.shape[1])]

    def _diverged(self, seed: int, chance: float) -> int | None:
        if self.stopped[seed]:
            return int(self.stopped[seed])
        loss = self.loss[:, seed]
        high = ~(loss <= _BLOWN_UP * max(loss[0], chance))
        if not high[-1] or self.final_loss[seed] <= _BLOWN_UP * max(loss[0], chance):
            return None
        low = np.flatnonzero(~high)
        return int(low[-1]) + 2 if low.size else 1

    def outcomes(self, chance: float) -> list[str]:
        """Say of every seed whether it ``diverges``, ``stalls`` or ``trains``.

        Stalled: its final loss is not a tenth below `chance`.
        """
        steps = self.diverged_at(chance)
        return [
            "diverges" if step else "trains" if loss < 0.9 * chance else "stalls"
            for step, loss in zip(steps, self.final_loss, strict=True)
        ]

    @property
    def engaged_fraction(self) -> float:
        """Share of the updates that were clipped, of all seeds together."""
        known = np.isfinite(self.norm_before) & np.isfinite(self.loss)
        changed = (self.norm_before != self.norm_after) & known
        return float(changed.sum() / max(known.sum(), 1))


class _Flat(nn.Module):
    """The outputs of all replicas under each other, as `training.Trainer` has them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, …) -> (replicas · predictions, units)."""
        outputs: Tensor = self.model(inputs)
        return outputs.flatten(0, -2)


class _ReplicaLoss:
    """Sum of the replicas' mean losses: each replica's gradient is that of its own.

    Attributes
    ----------
    each
        Every replica's loss at the last call, (replicas,).
    """

    def __init__(self, loss: Loss, replicas: int) -> None:
        self.loss, self.replicas = loss, replicas
        self.each = torch.empty(0)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(replicas · predictions, units) and their targets -> a number to minimise."""
        each = self.loss(outputs, targets).view(self.replicas, -1).mean(1)
        self.each = each.detach()
        total: Tensor = each.sum()
        return total


@dataclass
class _Log:
    """What every step leaves, one array (replicas,) each."""

    loss: list[Floats] = field(default_factory=list)
    before: list[Floats] = field(default_factory=list)
    after: list[Floats] = field(default_factory=list)

    def add(self, loss: Floats, before: Floats, after: Floats) -> None:
        """Note one step."""
        self.loss.append(loss)
        self.before.append(before)
        self.after.append(after)


class Training:
    """Policies × seeds of one problem, trained side by side.

    Parameters
    ----------
    problem
        Its model is used up: its replicas are repeated for every policy.
    seeds
        Replicas of the model.
    lr, optimizer_name, nonfinite
        As in the configs; the optimiser has torch's defaults.

    Raises
    ------
    GradflowError
        For an unknown optimiser, and one that would mix the replicas.
    """

    def __init__(
        self,
        problem: Problem,
        clippings: Sequence[Clipping],
        seeds: int,
        lr: float,
        optimizer_name: str = "sgd",
        nonfinite: str = "refuse",
    ) -> None:
        if optimizer_name.lower() in _NOT_ELEMENTWISE:
            raise GradflowError(
                f"optimizer '{optimizer_name}' mixes entries, and with them the seeds",
                "use sgd, adam, adamw, rmsprop, …",
            )
        find(optimizer_name)
        self.problem, self.clippings, self.seeds = problem, clippings, seeds
        self.nonfinite = nonfinite
        self.count = len(clippings) * seeds
        model = _Flat(repeat(problem.model, seeds, len(clippings)))
        self.replicas = Replicas(model, self.count)
        self.clippers = [c.clipper() for c in clippings for _ in range(seeds)]
        update = optimizer(optimizer_name, model.parameters(), lr)
        self.loss = _ReplicaLoss(problem.loss, self.count)
        self.trainer = Trainer(model, update, self._clip, loss=self.loss)
        self.stopped = np.zeros(self.count, dtype=np.int64)
        self.log = _Log()

    def run(self, steps: int) -> Iterator[tuple[int, float]]:
        """Train; yield (step, median loss of what still trains) after each step."""
        for step in range(1, steps + 1):
            inputs, targets = self.problem.batch(step - 1)
            times = len(self.clippings)
            inputs = inputs.repeat(times, *[1] * (inputs.ndim - 1))
            self.trainer.step(inputs, targets.repeat(times, 1).flatten())
            yield step, self._median()
            if self.stopped.all():
                return

    def curves(self) -> list[TrainingCurves]:
        """Return what came of every policy so far."""
        steps = len(self.log.after)
        loss, before, after = (
            np.array(part[:steps], dtype=np.float64).reshape(steps, len(self.clippings), self.seeds)
            for part in (self.log.loss, self.log.before, self.log.after)
        )
        stopped = self.stopped.reshape(-1, self.seeds)
        return [
            TrainingCurves(clipping, loss[:, i], before[:, i], after[:, i], stopped[i])
            for i, clipping in enumerate(self.clippings)
        ]

    def _clip(self, _: list[nn.Parameter]) -> None:
        """Clip every replica's gradient by its own policy, and log the step."""
        running = self._running()
        loss = _numbers(self.loss.each)
        before = _numbers(self.replicas.norms())
        broken = running & ~(np.isfinite(before) & np.isfinite(loss))
        self._clip_replicas(running, running & ~broken)
        after = _numbers(self.replicas.norms())
        self.log.add(*(np.where(running, part, np.nan) for part in (loss, before, after)))
        if self.nonfinite == "refuse":
            self.stopped[broken] = len(self.log.loss)

    def _clip_replicas(self, running: npt.NDArray[np.bool_], sound: npt.NDArray[np.bool_]) -> None:
        self.replicas.take_gradients(np.flatnonzero(running).tolist())
        for replica in range(self.count):
            if sound[replica]:
                clip_gradients(
                    self.clippers[replica], self.replicas.layers[replica], self.nonfinite
                )
            else:
                self.replicas.zero(replica)

    def _running(self) -> npt.NDArray[np.bool_]:
        running: npt.NDArray[np.bool_] = self.stopped == 0
        return running

    def _median(self) -> float:
        loss = self.log.loss[-1]
        finite = loss[np.isfinite(loss)]
        return float(np.median(finite)) if finite.size else math.nan


def _numbers(tensor: Tensor) -> Floats:
    numbers: Floats = tensor.cpu().double().numpy()
    return numbers


def norms_met(curves: TrainingCurves | None, chance: float) -> Floats:
    """Return all norms met before clipping, of all seeds together, finite and above 0.

    Of each seed only those up to where its loss first passed ten times its first one (or chance):
    an explosion's norms tell nothing of those of training.
    """
    if curves is None:
        return np.zeros(0)
    sound = curves.loss <= _BLOWN_UP * np.maximum(curves.loss[:1], chance)
    before: Floats = curves.norm_before[np.cumprod(sound, axis=0, dtype=bool)]
    finite: Floats = before[np.isfinite(before) & (before > 0)]
    return finite
