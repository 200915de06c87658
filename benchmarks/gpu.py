"""What runs on a GPU, how fast, and whether it gives the CPU's numbers: one table in minutes.

    python benchmarks/gpu.py [SECTION…]

Sections: tests placement training graphs watching gpt2; all of them by default (`make gpu`). A
section that fails says why, the others go on, and the exit code is 1. Times are medians of blocks
that take turns.
"""

from __future__ import annotations

import copy
import functools
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from watch_overhead import network, plain

import gradflow
from gradflow.activations import activation
from gradflow.benchmarking.networks.convnet import article_network
from gradflow.datasets.images import load
from gradflow.training.optimizers import optimizer
from gradflow.training.trainer import Examples, Trainer, arithmetic

Line = tuple[str, str]
DEVICE = torch.device("cuda")
BATCH = 128
ROUNDS = 7


def command(*words: str) -> str:
    """Return what a Python command prints; raises with its last line if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError("\n".join(said[-40:]))
    return done.stdout


def tests() -> Iterator[Line]:
    """The tests that need a GPU."""
    said = command("pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", "--tb=short", "tests")
    yield "pytest -m cuda", said.strip().splitlines()[-1].strip("= ")


def placement() -> Iterator[Line]:
    """The same commands on the CPU and on the GPU: float64, so that they differ by rounding."""
    for words in (
        ("diagnose", "--depth", "10", "--act", "sigmoid", "--dtype", "float64"),
        ("diagnose", "--arch", "cnn", "--act", "relu", "--dtype", "float64"),
        ("diagnose", "--arch", "transformer", "--dtype", "float64"),
        ("clip", "--dtype", "float64", "--steps", "20"),
    ):
        here, there = (
            json.loads(command("gradflow", *words, "--json", "--device", d))
            for d in ("cpu", "cuda")
        )
        yield f"gradflow {' '.join(words)}", f"{there['meta']['device']}: {_furthest(here, there)}"


def _furthest(here: Any, there: Any) -> str:
    """How far the numbers of two results are apart, over the largest of their column.

    Over it, since a number may be rounding alone: a key's bias has no gradient.
    """
    columns: dict[str, list[tuple[float, float]]] = {}
    for a, b in zip(here["rows"], there["rows"], strict=True):
        for key, value in a.items():
            if isinstance(value, float) and isinstance(b[key], float):
                columns.setdefault(key, []).append((value, b[key]))
    apart = {
        key: max(abs(a - b) for a, b in pairs) / max(1e-300, *(abs(a) for a, _ in pairs))
        for key, pairs in columns.items()
    }
    worst = max(apart, key=apart.__getitem__)
    count = sum(map(len, columns.values()))
    return f"{count} numbers, at most {apart[worst]:.1e} apart ({worst})"


def clip(parameters: list[Tensor]) -> None:
    """Clip as the article does."""
    nn.utils.clip_grad_value_(parameters, 0.5)


def images(size: int = 12_800) -> Examples:
    """Return training images on the GPU."""
    data = load()
    return Examples.upload(data.train_images[:size], data.train_labels[:size], DEVICE)


def trainer(precision: str = "fp32", change: Callable[[nn.Module], Any] | None = None) -> Trainer:
    """Return the article's CNN in training, the module changed if asked."""
    torch.manual_seed(0)
    model = article_network(activation("relu")).to(DEVICE).train()
    made = Trainer(model, optimizer("adam", model.parameters(), 1e-3), clip, precision)
    if change is not None:
        made.model = change(model)
    return made


def rate(made: Trainer, data: Examples, steps: int = 60) -> float:
    """Return the images per second of so many steps."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for step in range(steps):
        at = step * BATCH % (len(data) - BATCH + 1)
        made.step(*data.take(slice(at, at + BATCH)))
    torch.cuda.synchronize()
    return steps * BATCH / (time.perf_counter() - start)


def training() -> Iterator[Line]:
    """The benchmark's own command, then its training step in each precision."""
    said = json.loads(
        command(
            *("gradflow", "benchmark", "--device", "cuda", "--epochs", "2"),
            *("--act", "relu,sigmoid", "--json"),
        )
    )
    for row in said["rows"]:
        yield (
            f"benchmark --device cuda --epochs 2, {row['activation']}",
            f"{row['test_accuracy']:.2%}, {row['images_per_second']:,.0f} images/s, "
            f"{row['seconds']:.1f} s",
        )
    data = images()
    for precision in ("fp32", "tf32", "bf16"):
        with arithmetic(precision, DEVICE):
            made = trainer(precision)
            rate(made, data)
            rates = [rate(made, data) for _ in range(ROUNDS)]
        yield f"training step, {precision}", f"{statistics.median(rates):,.0f} images/s"


def graphed(model: nn.Module) -> Any:
    """Return the module as CUDA graphs."""
    sample = torch.zeros((BATCH, 1, 28, 28), device=DEVICE)
    sample = sample.to(memory_format=torch.channels_last)
    return torch.cuda.make_graphed_callables(model, (sample,), allow_unused_input=True)


def graphs() -> Iterator[Line]:
    """CUDA graphs and torch.compile beside the plain step, in turns."""
    data = images()
    cases: dict[str, Callable[[nn.Module], Any]] = {
        "plain": lambda model: model,
        "CUDA graphs": graphed,
        "torch.compile": torch.compile,
        "torch.compile, reduce-overhead": lambda m: torch.compile(m, mode="reduce-overhead"),
    }
    for precision in ("fp32", "bf16"):
        with arithmetic(precision, DEVICE):
            yield from in_turns(precision, cases, data)


def in_turns(
    precision: str, cases: dict[str, Callable[[nn.Module], Any]], data: Examples
) -> Iterator[Line]:
    """One precision: every case that runs, over the plain one."""
    made = {}
    for name, change in cases.items():
        ready = started(precision, change, data)
        if isinstance(ready, str):
            yield f"{precision}, {name}", f"did not run: {ready}"
        else:
            made[name] = ready
    rates: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, ready in made.items():
            rates[name].append(rate(ready, data))
    for name, values in rates.items():
        apart = statistics.median(v / p for v, p in zip(values, rates["plain"], strict=True))
        found = f"{statistics.median(values):,.0f} images/s, {apart:.2f} × plain"
        yield f"{precision}, {name}", found


def started(precision: str, change: Callable[[nn.Module], Any], data: Examples) -> Trainer | str:
    """Return a warm trainer, or why it does not run."""
    try:
        made = trainer(precision, change)
        rate(made, data)
    except Exception as error:  # whatever a compiler raises
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return made


def watching() -> Iterator[Line]:
    """A watched step over the same step, by default options, after the first ten."""
    for width, kind in ((64, "SGD"), (64, "Adam"), (512, "SGD"), (512, "Adam"), (2048, "Adam")):
        model = network(width).to(DEVICE)
        update = getattr(torch.optim, kind)(model.parameters(), lr=1e-3)
        inputs = torch.randn(width, width, device=DEVICE)
        labels = torch.randint(10, (width,), device=DEVICE)

        step = functools.partial(plain, model, update, inputs, labels)
        ratios = []
        for _ in range(ROUNDS):
            base = block(step)
            with gradflow.watch(model, optimizer=update):
                ratios.append(block(step) / base)
        yield (
            f"watched step over a plain one, {kind}, width {width}",
            f"{statistics.median(ratios):.2f} × ({1e3 * base:.2f} ms)",
        )


def block(step: Callable[[], None], warm: int = 12, steps: int = 50) -> float:
    """Return the seconds of one step."""
    for _ in range(warm):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def gpt2() -> Iterator[Line]:
    """Diagnose GPT-2 (124M parameters, drawn, not downloaded) on 8 × 256 tokens."""
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(attn_implementation="eager")
    model = transformers.GPT2LMHeadModel(config).to(DEVICE).train()
    tokens = torch.randint(50257, (8, 256), device=DEVICE)
    given = {"input_ids": tokens, "labels": tokens}

    def alone() -> None:
        model(**given).loss.backward()
        model.zero_grad()

    def measured() -> Any:
        return gradflow.diagnose(model, given)

    alone()
    result = measured()
    base, ours = [], []
    for _ in range(5):
        base.append(timed(alone))
        ours.append(timed(measured))
    peak_plain, peak_ours = peak(alone), peak(measured)
    yield "GPT-2 124M, diagnose", f"{result.verdict}, {len(result.records)} rows"
    yield (
        "… over one forward and backward pass",
        f"{statistics.median(b / a for a, b in zip(base, ours, strict=True)):.2f} × "
        f"({1e3 * statistics.median(base):.0f} ms)",
    )
    yield (
        "… its peak memory over theirs",
        f"{peak_ours / peak_plain:.2f} × ({peak_plain / 2**30:.1f} GB)",
    )
    yield (
        "… gradients beside autograd's",
        f"at most {gradients_apart(model, given, result):.1e} apart",
    )


def timed(call: Callable[[], Any]) -> float:
    """Return its seconds."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(call: Callable[[], Any]) -> int:
    """Return the most memory that it held."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def gradients_apart(model: nn.Module, given: dict[str, Tensor], result: Any) -> float:
    """Return the largest relative distance of a row's norm from plain autograd's, dropout off."""
    quiet = copy.deepcopy(model).eval()
    result = gradflow.diagnose(quiet, given)
    quiet(**given).loss.backward()
    norms = {
        name.removesuffix(".weight"): p.grad.double().norm().item()
        for name, p in quiet.named_parameters()
        if p.grad is not None and name.endswith(".weight")
    }
    return max(
        abs(row.gradient_norm - norms[row.name]) / norms[row.name]
        for row in result.records
        if row.name in norms and row.gradient_norm is not None
    )


SECTIONS = {f.__name__: f for f in (tests, placement, training, graphs, watching, gpt2)}


def main(names: list[str]) -> int:
    """Print one table of all sections; return 1 if one failed."""
    if not torch.cuda.is_available():
        print("error: no CUDA device here", file=sys.stderr)
        return 2
    console = Console(width=110)
    table = Table(
        "what", "measured", title=f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    )
    failed = 0
    for name in names or list(SECTIONS):
        start = time.perf_counter()
        try:
            for line in SECTIONS[name]():
                table.add_row(*line)
                console.print(*line, sep=": ", highlight=False)
        except Exception as error:
            failed = 1
            table.add_row(name, f"failed: {error}")
            console.print(f"{name} failed: {type(error).__name__}: {error}", highlight=False)
        console.print(f"({name}: {time.perf_counter() - start:.0f} s)", highlight=False)
    console.print(table)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
