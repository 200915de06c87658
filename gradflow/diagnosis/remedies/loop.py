"""Changes of the training loop: clipping, a warm-up, Adam's ε, smaller rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradflow.diagnosis.remedies.grid import EPSILON, MOMENTUM, Rate, Trial


@dataclass(frozen=True)
class Loop:
    """How a network is trained, besides optimizer and rate.

    Attributes
    ----------
    clip
        Norm that gradients are clipped to.
    warm_up
        Steps over which the rate rises to what it is to be.
    epsilon
        Adam's ε.
    slower
        What rates are multiplied by.
    """

    clip: float | None = None
    warm_up: int = 0
    epsilon: float = EPSILON
    slower: float = 1.0

    def rates(self, given: Iterable[Rate]) -> tuple[Rate, ...]:
        """Return the rates to try; none where the change is not of these optimizers."""
        return tuple(
            Rate(rate.optimizer, float(f"{self.slower * rate.lr:.4g}"))
            for rate in given
            if self.epsilon == EPSILON or rate.optimizer != "sgd"
        )

    def share_of_rate(self, step: int) -> float:
        """Return what `LinearLR` multiplies the rate by at a step, the first being 0."""
        if step >= self.warm_up:
            return 1.0
        return 1 / self.warm_up + (1 - 1 / self.warm_up) * step / self.warm_up

    def lines(self, trial: Trial | None, given: Iterable[Rate]) -> str:
        """Return what is to be written in a program, for the rate that trained best."""
        rate = next(iter(self.rates(given))) if trial is None else trial.rate
        if self.clip is not None:
            return f"torch.nn.utils.clip_grad_norm_(model.parameters(), {self.clip})"
        lines = f"optimizer = torch.optim.{self._optimizer(rate)}"
        if self.warm_up:
            lines += (
                "\nscheduler = torch.optim.lr_scheduler.LinearLR("
                f"optimizer, {1 / self.warm_up:g}, total_iters={self.warm_up})"
            )
        return lines

    def _optimizer(self, rate: Rate) -> str:
        if rate.optimizer == "sgd":
            return f"SGD(model.parameters(), lr={rate.lr:g}, momentum={MOMENTUM})"
        epsilon = "" if self.epsilon == EPSILON else f", eps={self.epsilon:g}"
        return f"Adam(model.parameters(), lr={rate.lr:g}{epsilon})"


PLAIN = Loop()
