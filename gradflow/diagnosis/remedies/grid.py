"""What every trial has in common: optimizers with their rates, steps, and how many it may take."""

from __future__ import annotations

from dataclasses import dataclass

from gradflow.errors import GradflowError

#: Rates that a network is tried with where its optimizer is known, and where none is.
_SGD, _ADAM = (1e-2, 1e-1, 1.0), (1e-4, 1e-3, 1e-2)
MOMENTUM, EPSILON = 0.9, 1e-8
#: Steps of a training where nobody says how many, and the fewest that tell anything.
STEPS, LEAST_STEPS = 200, 24
#: Small steps are slower on several threads, which are busy where they wait for each other.
THREADS = 1
#: Share of the steps, and the least steps, after which the worse half of the networks is given up,
#: but for so many, which alone go on from the half of the steps on.
_SHARE, _FIRST_STEPS, _KEPT, HALF = 0.1, 8, 3, 0.5
#: Rates that a network has left after its first steps.
_RATES_LEFT = 2
#: Seconds of counted work that all trials together may take; networks for which, where a step is
#: slow, it may be so much more; seconds of processor time at most.
WORK, _FEWEST, _MOST, CLOCK = 5.0, 4, 2.0, 20.0


@dataclass(frozen=True)
class Rate:
    """An optimizer with its learning rate."""

    optimizer: str
    lr: float


@dataclass(frozen=True)
class Trial:
    """What a training came to: the lowest loss over the rates, which gave it, after how much."""

    loss: float
    rate: Rate
    steps: int


@dataclass(frozen=True)
class Pace:
    """How far trainings go.

    Attributes
    ----------
    steps
        Of each training that goes to its end; 0: nothing is trained.
    networks
        How many are trained.
    first
        The share of the steps after which the worse half of the networks is given up; 1: none is.
        Of the others the best three go on from the half of the steps on.
    """

    steps: int
    networks: int
    first: float = 1.0

    def kept(self, count: int) -> int:
        """Return how many of so many remedies go on after the first part."""
        return min(max(-(-count // 2), _KEPT), count)

    def finalists(self, count: int) -> int:
        """Return how many of so many remedies go on to the end."""
        return min(_KEPT, count)


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

    def fitting(self, every: float, one: float, networks: int) -> Pace:
        """Return how far trainings may go.

        Parameters
        ----------
        every, one
            Seconds of a step at all rates, and at one.
        networks
            How many there are to try, the untreated one among them.
        """
        if self.steps is not None:
            return Pace(self.steps, networks if self.steps else 0)
        for steps in range(STEPS, LEAST_STEPS - 1, -1):
            pace = Pace(steps, networks, _first(steps))
            if _work(pace, every, one) <= self.work:
                return pace
        for fewer in range(networks - 1, _FEWEST - 1, -1):
            pace = Pace(LEAST_STEPS, fewer, _first(LEAST_STEPS))
            if _work(pace, every, one) <= (self.work if fewer > _FEWEST else _MOST * self.work):
                return pace
        return Pace(0, 0)


def _first(steps: int) -> float:
    """The share of the steps after which what is worse is given up."""
    return max(_SHARE, _FIRST_STEPS / steps)


def _work(pace: Pace, every: float, one: float) -> float:
    """Seconds of all trainings."""
    others = pace.networks - 1
    begun = pace.first * pace.networks * every
    middle = (HALF - pace.first) * (1 + pace.kept(others)) * _RATES_LEFT * one
    return pace.steps * (begun + middle + (1 - HALF) * (1 + pace.finalists(others)) * one)
