"""Training throughput of gradflow's loop beside what people use, and beside the hardware's limit.

Every contestant trains the article's network with each activation on batches of 128 images. Each
is one child process (gradflow two, of one thread each, as `gradflow benchmark` has it), started
and warmed up once; then they take turns, so that all see the same moods of the machine. Numbers
are medians over rounds, with the range; ratios are taken within a round.

    python benchmarks/throughput.py                      # about ten minutes
    python benchmarks/throughput.py --quick              # does it run? its numbers mean little
    python benchmarks/throughput.py --without keras lightning   # nothing to install

Keras and Lightning get virtual environments of their own under --cache. Keras runs without XLA,
which makes it several times slower on a CPU; --xla shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from peers.environments import DEFAULT_CACHE, environment
from peers.machine import machine, spread
from peers.protocol import Child

from gradflow.executors.processes import cores

ACTS = ["sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu"]
MFLOP = 71.6  # of training, per image: products forwards, and for weights and inputs backwards
SIZES = [512, 768, 1024, 1536, 2048]
BATCH = 128
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # as the benchmark's workers have

#: Takes so many steps with each activation; returns the seconds of each.
Contestant = Callable[[int], dict[str, float]]


class Alone:
    """A contestant in one process of its own."""

    def __init__(self, child: Child, **request: object) -> None:
        self.child, self.request = child, request

    def __call__(self, steps: int) -> dict[str, float]:
        """Take the steps of every activation, one after the other."""
        answer = self.child.ask(acts=ACTS, steps=steps, **self.request)
        seconds: dict[str, float] = answer["seconds"]
        return seconds


class SideBySide:
    """As many processes as cores, each with all activations, in an order of its own.

    The seconds are those that one of them would take for the work of one: wall-clock time is the
    slowest's, and is shared out among activations in proportion to what each took.
    """

    def __init__(self, children: list[Child], **request: object) -> None:
        self.children, self.request = children, request

    def __call__(self, steps: int) -> dict[str, float]:
        """Take the steps of every activation in every process."""
        for number, child in enumerate(self.children):
            shift = number * len(ACTS) // len(self.children)
            child.send(acts=ACTS[shift:] + ACTS[:shift], steps=steps, **self.request)
        answers = [child.receive()["seconds"] for child in self.children]
        each = {act: sum(answer[act] for answer in answers) for act in ACTS}
        wall = max(sum(answer.values()) for answer in answers)
        scale = wall / sum(each.values()) / len(self.children)
        return {act: seconds * scale for act, seconds in each.items()}


class Peak:
    """The rate of matrix products of all cores together, at the size that suits them best."""

    def __init__(self, children: list[Child]) -> None:
        self.children = children

    def __call__(self, seconds: float) -> float:
        """Return GFLOP/s."""
        for child in self.children:
            child.send(sizes=SIZES, seconds=seconds)
        rates = [child.receive()["rates"] for child in self.children]
        return float(max(sum(of_a_size) for of_a_size in zip(*rates, strict=True)))


def images_per_second(seconds: dict[str, float], steps: int) -> float:
    """Return the rate over all activations together."""
    return len(seconds) * steps * BATCH / sum(seconds.values())


@contextlib.contextmanager
def running(children: list[Child]) -> Iterator[list[Child]]:
    """Wait for the children to be ready; end them in the end."""
    try:
        yield [child.ready() for child in children]
    finally:
        for child in children:
            child.close()


def best_workers(plain: Child, steps: int) -> int:
    """Return the number of DataLoader workers with which the plain loop is fastest."""

    def seconds(workers: int) -> float:
        took = [plain.ask(acts=["relu"], steps=steps, workers=workers) for _ in range(3)]
        return min(answer["seconds"]["relu"] for answer in took)

    plain.ask(acts=["relu"], steps=2)
    return min(range(3), key=seconds)


def contestants(
    children: dict[str, list[Child]], steps: int, xla: bool
) -> tuple[dict[str, Contestant], list[str]]:
    """Return the contestants by name, and what there is to say of them."""
    plain = children["plain"][0]
    workers = best_workers(plain, steps)
    notes = [f"DataLoader workers: {workers} (the fastest of 0, 1 and 2)"]
    found: dict[str, Contestant] = {"plain PyTorch loop": Alone(plain, workers=workers)}
    if "lightning" in children:
        found["Lightning"] = Alone(children["lightning"][0], workers=workers)
    if "keras" in children:
        for jit in (False, True) if xla else (False,):
            name = "Keras on TensorFlow" + (", XLA" if jit else "")
            found[name] = Alone(children["keras"][0], jit=jit)
    for precision in ("fp32", "bf16"):
        found[f"gradflow {precision}"] = SideBySide(children["gradflow"], precision=precision)
    return found, notes


def start(without: list[str], cache: Path) -> dict[str, list[Child]]:
    """Start every child, by the name of its contestant."""
    children = {
        "plain": [Child("plain_loop.py")],
        "gradflow": [Child("gradflow_loop.py", env=HUGE_PAGES) for _ in range(cores())],
        "sgemm": [Child("sgemm.py") for _ in range(cores())],
    }
    for name in {"keras", "lightning"} - set(without):
        children[name] = [Child(f"{name}_loop.py", environment(name, cache))]
    return children


def report(
    rates: dict[str, list[float]],
    by_act: dict[str, dict[str, list[float]]],
    peaks: list[float],
) -> Iterator[str]:
    """Return the tables, line by line."""
    plain = rates["plain PyTorch loop"]
    yield f"{'images per second':<26}{'median (range)':>26}   {'× plain loop':>22}"
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(values, plain, strict=True)]
        yield f"{name:<26}{spread(values):>26}   {spread(ratios, 2):>22}"
    keras = [name for name in rates if name.startswith("Keras")]
    if keras:
        best = max(keras, key=lambda name: statistics.median(rates[name]))
        pairs = zip(rates["gradflow fp32"], rates[best], strict=True)
        yield ""
        yield f"gradflow fp32 × {best}: {spread([a / b for a, b in pairs], 2)}"
    yield ""
    yield f"sgemm, all cores together: {spread(peaks)} GFLOP/s"
    shares = [rate * MFLOP / 1e3 / peak for rate, peak in zip(rates["gradflow fp32"], peaks)]  # noqa: B905
    yield f"share of it that gradflow reaches in fp32: {spread(shares, 2)}"
    yield ""
    yield "medians by activation  " + "".join(f"{act:>12}" for act in ACTS)
    for name, of_each in by_act.items():
        medians = (statistics.median(of_each[act]) for act in ACTS)
        yield f"{name:<23}" + "".join(f"{value:>12,.0f}" for value in medians)


def measure(options: argparse.Namespace, children: dict[str, list[Child]]) -> Iterator[str]:
    """Let the contestants take turns; return what to print."""
    found, notes = contestants(children, options.steps, options.xla)
    peak = Peak(children["sgemm"])
    for contestant in found.values():
        contestant(2)
    rates: dict[str, list[float]] = {name: [] for name in found}
    by_act: dict[str, dict[str, list[float]]] = {name: {act: [] for act in ACTS} for name in found}
    peaks = []
    for number in range(options.rounds):
        peaks.append(peak(options.steps / 50))
        first = number % len(found)
        for name in [*found][first:] + [*found][:first]:
            seconds = found[name](options.steps)
            rates[name].append(images_per_second(seconds, options.steps))
            for act in ACTS:
                by_act[name][act].append(options.steps * BATCH / seconds[act])
    yield f"{machine()}"
    versions = {k: v for of in children.values() for k, v in of[0].versions.items()}
    yield ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"{options.rounds} rounds of {options.steps} steps per activation; " + "; ".join(notes)
    yield ""
    yield from report(rates, by_act, peaks)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15, help="per activation and turn")
    parser.add_argument("--without", nargs="+", default=[], choices=["keras", "lightning"])
    parser.add_argument("--xla", action="store_true", help="Keras with jit_compile=True as well")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="for environments")
    parser.add_argument("--quick", action="store_true", help="one round of two steps")
    parser.add_argument("-o", "--output", type=Path, help="write the tables there as well")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 1, 2
    children = start(options.without, options.cache)
    written = io.StringIO()
    with running([child for group in children.values() for child in group]):
        for line in measure(options, children):
            print(line, flush=True)
            print(line, file=written)
    if options.output is not None:
        options.output.write_text(written.getvalue())


if __name__ == "__main__":
    main()
