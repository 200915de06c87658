"""What every trial has in common: optimizers with their rates, steps, and how many it may take."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.errors import GradflowError

#: Rates that a network is tried with where its optimizer is known, and where none is.
_SGD, _ADAM = (1e-2, 1e-1, 1.0), (1e-4, 1e-3, 1e-2)
MOMENTUM = 0.9
#: Steps of a training where nobody says how many, and the fewest that tell anything.
STEPS, LEAST_STEPS = 100, 24
#: Small steps are slower on several threads, which are busy where they wait for each other.
THREADS = 1
#: Seconds of counted work that all trials together may take, and of processor time at most.
WORK, CLOCK = 3.0, 20.0


@dataclass(frozen=True)
class Rate:
    """An optimizer with its learning rate."""

    optimizer: str
    lr: float


@dataclass(frozen=True)
class Trial:
    """What a training came to: the lowest loss over the rates, and which gave it."""

    loss: float
    rate: Rate


@dataclass(frozen=True)
class Plan:
    """How remedies are to be tried.

    Attributes
    ----------
    steps
        Of each training; None: `STEPS`, fewer where they are slow; 0: nothing is trained.
    optimizer
        Whose rates are tried, Adam's for all but SGD; None: both.
    work
        Seconds of counted work that the trials may take where `steps` is None.
    """

    steps: int | None = None
    optimizer: str | None = None
    work: float = WORK

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 0:
            raise GradflowError(f"--trial-steps must be at least 0, got {self.steps}")

    def rates(self) -> tuple[Rate, ...]:
        """Return what each network is trained with."""
        if self.optimizer is None:
            return (Rate("adam", 1e-3), Rate("adam", 1e-2), Rate("sgd", 1e-1))
        if self.optimizer.lower() == "sgd":
            return tuple(Rate("sgd", lr) for lr in _SGD)
        return tuple(Rate("adam", lr) for lr in _ADAM)

    def fitting(self, cost: float, networks: int) -> tuple[int, int]:
        """Return steps of each training, and of how many networks.

        Parameters
        ----------
        cost
            Seconds of a step over all rates that it is taken for.
        networks
            How many there are to try.
        """
        if self.steps is not None:
            return self.steps, networks
        possible = self.work / max(cost, 1e-9)
        steps = min(STEPS, int(possible / networks))
        if steps >= LEAST_STEPS:
            return steps, networks
        return LEAST_STEPS, int(possible / LEAST_STEPS)
