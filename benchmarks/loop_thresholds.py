"""Whether the thresholds of a watched loop lie between healthy runs and faulty ones.

Small networks are trained, classes and numbers, with several optimizers: ordinary runs, and runs
with one thing wrong. For each threshold the number that its check compares with it is printed: how
far healthy runs go, how far faulty ones stay, and what lies on the wrong side. Runs with an even
number make half A, by which a threshold may be chosen; the odd ones make half B, which only judges.

    python benchmarks/loop_thresholds.py              some two minutes on one core
    python benchmarks/loop_thresholds.py --runs 4     fewer of each kind

A check has further conditions, so that one number on the wrong side is no false alarm yet: most
say nothing of a run that has learnt. Runs whose rate, decay or weights were to make them fail, and
that learnt all the same, are left out.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.findings.thresholds import THRESHOLDS
from gradflow.results.watching import WatchResult
from gradflow.watching.growth import growth
from gradflow.watching.loop_checks import update_ratios
from gradflow.watching.outcome import constant_loss, losses_curve, outcome

STEPS, EXAMPLES, BATCH, FEATURES = 120, 256, 32, 8
#: Name, learning rate.
OPTIMIZERS = (("SGD", 0.1), ("SGD", 0.03), ("Adam", 3e-3), ("AdamW", 3e-3), ("RMSprop", 1e-3))


# ------------------------------------------------------------------------------ the runs


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a run: factors of the learning rate and of ‖w‖, and the like."""

    rate: float = 1.0
    decay: float = 0.0
    shuffled: bool = False
    noise: bool = False
    stale: bool = False
    outlier: float = 1.0
    grown: float = 1.0


#: Kinds of faulty runs.
KINDS = {
    "rate too large": Wrong(rate=100.0),
    "rate too small": Wrong(rate=1e-4),
    "weight decay": Wrong(decay=6.0),
    "labels shuffled": Wrong(shuffled=True),
    "labels of noise": Wrong(noise=True),
    "never zeroed": Wrong(stale=True),
    "an outlier": Wrong(outlier=100.0),
    "weights grow": Wrong(grown=1.01),
}
#: Those of which a run that learnt all the same is no example.
FAILING = frozenset({"rate too large", "rate too small", "weight decay", "weights grow"})


class Recurrent(nn.Module):
    """A recurrence over the features, each a step."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.inner, self.out = nn.RNN(1, 16, batch_first=True), nn.Linear(16, outputs)
        nn.init.orthogonal_(self.inner.weight_hh_l0)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last state says."""
        steps = x.repeat(1, 5)[:, :, None]
        said: Tensor = self.out(self.inner(steps)[0][:, -1])
        return said


def network(draw: random.Random, outputs: int) -> nn.Module:
    """Return a small network."""
    width, hidden = draw.choice((16, 32, 64)), draw.choice((1, 2, 3))
    layers: list[nn.Module] = []
    for inputs in [FEATURES, *[width] * (hidden - 1)]:
        layers += [nn.Linear(inputs, width), draw.choice((nn.ReLU, nn.Tanh, nn.GELU))()]
        layers += [nn.BatchNorm1d(width)] if draw.random() < 0.25 else []
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def data(number: int, classes: bool) -> tuple[Tensor, Tensor]:
    """Return examples of classes, or with numbers to be told."""
    generator = torch.Generator().manual_seed(number)
    if not classes:
        x = torch.randn(EXAMPLES, FEATURES, generator=generator)
        return x, torch.sin(x[:, :1]) + x[:, 1:2]
    labels = torch.randint(4, (EXAMPLES,), generator=generator)
    centres = 1.5 * torch.randn(4, FEATURES, generator=generator)
    return centres[labels] + torch.randn(EXAMPLES, FEATURES, generator=generator), labels


def trained(number: int, wrong: Wrong) -> WatchResult:
    """Train one network under `gradflow.watch`."""
    torch.manual_seed(number)
    draw = random.Random(number)
    classes = draw.random() < 0.5
    x, y = data(number, classes)
    model = (
        Recurrent(4 if classes else 1) if wrong.grown != 1 else network(draw, 4 if classes else 1)
    )
    name, rate = draw.choice(OPTIMIZERS)
    options = {"lr": rate * wrong.rate}
    if wrong.decay:
        options["weight_decay"] = wrong.decay / (rate * STEPS)
    optimizer = getattr(torch.optim, name)(model.parameters(), **options)
    with gradflow.watch(model) as watch:
        for step, rows in enumerate(batches()):
            given = x[rows] * (wrong.outlier if step == STEPS // 2 else 1.0)
            right = y[torch.randperm(EXAMPLES)[: len(rows)]] if wrong.shuffled else y[rows]
            right = y[torch.randint(EXAMPLES, (len(rows),))] if wrong.noise else right
            if wrong.outlier != 1 and step == STEPS // 2 and not classes:
                right = right * wrong.outlier
            if not wrong.stale:
                optimizer.zero_grad()
            loss_of(model, given, right).backward()
            optimizer.step()
            grow(model, wrong.grown)
    return watch.result()


def batches() -> Iterator[Tensor]:
    """Yield the rows of each batch."""
    order: list[Tensor] = []
    for _ in range(STEPS):
        order = order or list(torch.randperm(EXAMPLES).split(BATCH))
        yield order.pop()


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss of a batch."""
    made = model(x)
    return F.mse_loss(made, y) if y.is_floating_point() else F.cross_entropy(made, y)


@torch.no_grad()
def grow(model: nn.Module, factor: float) -> None:
    """Multiply the weights of a recurrence."""
    if isinstance(model, Recurrent):
        model.inner.weight_hh_l0.mul_(factor)


# ------------------------------------------------------------------------------ the numbers


@dataclass(frozen=True)
class Measure:
    """What a check compares with a threshold.

    Attributes
    ----------
    threshold
        Its name.
    kind
        Of the runs that are on its far side.
    above
        Whether the far side is above it.
    """

    threshold: str
    kind: str
    above: bool
    of: Callable[[WatchResult], float | None]

    def beyond(self, value: float) -> bool:
        """Whether a number is on the far side."""
        bound = THRESHOLDS[self.threshold].value
        return value > bound if self.above else value < bound


def usual_update(result: WatchResult) -> float | None:
    """‖Δw‖/‖w‖ of the median layer, at the median or at the start."""
    ratios = update_ratios(result)
    early = [ratios[step] for step in sorted(ratios)[: int(THRESHOLDS["early"].value)]]
    return max(median(ratios.values()), median(early)) if ratios else None


def left(result: WatchResult) -> float | None:
    """The last loss over the first, or over a constant prediction's."""
    found, constant = losses_curve(result), constant_loss(result)
    if found is None:
        return None
    return found.last / (found.first if constant is None else min(found.first, constant))


def times(result: WatchResult) -> float | None:
    """The last loss over the first."""
    found = losses_curve(result)
    return None if found is None or not found.first else found.last / found.first


def jump(result: WatchResult) -> float | None:
    """The largest loss over its usual one."""
    losses = [s.loss for s in result.steps if s.loss is not None and math.isfinite(s.loss)]
    usual = [median(losses[max(0, i - 10) : i]) for i in range(5, len(losses))]
    beside = zip(losses[5:], usual, strict=True)
    return max((loss / u for loss, u in beside if u > 0 and loss > 2 * losses[0]), default=1.0)


def middle(values: Sequence[float | None]) -> float | None:
    """The median of those that are known."""
    known = [v for v in values if v is not None]
    return median(known) if known else None


def conflicts(result: WatchResult) -> float | None:
    """How often targets differ, over how often they would by chance."""
    found = result.facts.conflicts
    return None if found is None or not found.chance else found.share / found.chance


def decades(result: WatchResult) -> float | None:
    """By how much ‖g‖ grew."""
    found = growth(result)
    return None if found is None else found.decades


MEASURES = (
    Measure("large update", "rate too large", True, usual_update),
    Measure("small update", "rate too small", False, usual_update),
    Measure("moved", "rate too small", False, lambda r: middle(r.facts.moved)),
    Measure("decayed", "weight decay", False, lambda r: middle(r.facts.shrunk)),
    Measure("flat", "labels of noise", True, left),
    Measure("fell", "labels of noise", True, left),
    Measure("diverged", "rate too large", True, times),
    Measure("jump", "an outlier", True, jump),
    Measure("conflicting", "labels shuffled", True, conflicts),
    Measure("stale", "never zeroed", True, lambda r: r.facts.stale),
    Measure("gradient growth", "weights grow", True, decades),
)

Runs = dict[str, list[WatchResult]]


def known(measure: Measure, results: Sequence[WatchResult], half: int) -> list[float]:
    """Return the numbers of one half of these runs: 0 for A, 1 for B."""
    values = (measure.of(result) for result in results[half::2])
    return [v for v in values if v is not None and not math.isnan(v)]


def line(measure: Measure, healthy: Sequence[WatchResult], faulty: Sequence[WatchResult]) -> str:
    """Return a threshold's line."""
    bound = THRESHOLDS[measure.threshold].value
    good, bad = known(measure, healthy, 0), known(measure, faulty, 0)
    far, near = (max, min) if measure.above else (min, max)
    judged_good, judged_bad = known(measure, healthy, 1), known(measure, faulty, 1)
    over = sum(map(measure.beyond, judged_good))
    short = sum(not measure.beyond(value) for value in judged_bad)
    return (
        f"{measure.threshold:16} {'>' if measure.above else '<'} {bound:<7.3g} "
        f"healthy to {far(good, default=math.nan):<9.3g} "
        f"{measure.kind:15} from {near(bad, default=math.nan):<9.3g} "
        f"B: {over} of {len(judged_good)} healthy beyond, {short} of {len(judged_bad)} faulty not"
    )


def runs(count: int) -> tuple[list[WatchResult], Runs]:
    """Train everything."""
    healthy = [trained(number, Wrong()) for number in range(3 * count)]
    faulty: Runs = {}
    for kind, wrong in KINDS.items():
        results = [trained(1000 + number, wrong) for number in range(count)]
        faulty[kind] = [r for r in results if kind not in FAILING or outcome(r) != "learnt"]
    return healthy, faulty


def main() -> None:
    """Train, and print a line for each threshold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=8, help="of each faulty kind; healthy: 3 times")
    options = parser.parse_args()
    torch.set_num_threads(1)
    healthy, faulty = runs(options.runs)
    errors = sum(any(f.severity == "error" for f in r.findings) for r in healthy)
    learnt = sum(outcome(r) == "learnt" for r in healthy)
    print(f"{len(healthy)} healthy runs: {learnt} have learnt, {errors} have an error")
    for measure in MEASURES:
        print(line(measure, healthy, faulty.get(measure.kind, [])))


if __name__ == "__main__":
    main()
